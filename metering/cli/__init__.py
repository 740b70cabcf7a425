"""The command line; each verb is a step of the flow."""
