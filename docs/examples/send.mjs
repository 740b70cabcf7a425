// Send events from JavaScript, with fetch alone: Node 18 or newer, Deno, Bun, a worker at the edge.
// METERING_URL and METERING_KEY say where to. Never put a key with the scope `ingest` into a browser's page.

const url = process.env.METERING_URL;
const key = process.env.METERING_KEY;

/** An event. Its id is made once, here, so that sending it again is safe. Quantities with a point go as text: 0.1 is none of JavaScript's numbers. */
function usage(type, subject, data, id = crypto.randomUUID()) {
  return { specversion: "1.0", id, source: "javascript", type, subject, time: new Date().toISOString(), data };
}

/** Send events until each has an outcome; the outcomes. Throws when the service refuses the request itself, as for a wrong key. */
async function send(events, tries = 8) {
  const body = JSON.stringify(events);
  for (let attempt = 0; ; attempt++) {
    let response;
    try {
      response = await fetch(`${url}/v1/events`, {
        method: "POST",
        headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/cloudevents-batch+json" },
        body,
        redirect: "error",
        signal: AbortSignal.timeout(10_000),
      });
      if (response.status === 202) return (await response.json()).outcomes;
    } catch (error) {
      // No answer: it may be there or not. Sent again with the same ids it counts once.
      if (attempt + 1 >= tries) throw error;
    }
    if (response && ![408, 425, 429].includes(response.status) && response.status < 500) {
      throw new Error(`${response.status}: ${await response.text()}`);
    }
    if (attempt + 1 >= tries) throw new Error(`not taken after ${tries} attempts`);
    const pause = Math.min(250 * 2 ** attempt, 30_000) * (0.5 + Math.random() / 2);
    const asked = Number(response?.headers.get("Retry-After")) * 1_000 || 0;
    await new Promise((resolve) => setTimeout(resolve, Math.max(pause, asked)));
  }
}

const outcomes = await send([
  usage("llm.call", "acme", { tokens: 1500, model: "large", cost: "0.1" }),
  usage("order.paid", "acme", { amount: "19.90" }, "order-72"),
]);
for (const outcome of outcomes) console.log(outcome.id, outcome.outcome, outcome.detail ?? "");
