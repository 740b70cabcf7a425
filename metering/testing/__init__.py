"""What tests of the engine and of its users share: brokers and a faultable log."""
