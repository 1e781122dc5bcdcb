// JavaScript: fetch, in Node 18 or later, Deno, Bun or a server's function. Keep the key out of browsers.
const URL = process.env.GIGARANK_URL ?? "http://127.0.0.1:8000";
const KEY = process.env.GIGARANK_API_KEY ?? "none";
const query = "How do plants turn sunlight into energy?";
const documents = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."];

const response = await fetch(`${URL}/v1/rerank`, {
  method: "POST",
  headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
  body: JSON.stringify({ model: "nano", query, documents }),
});
const answer = await response.json();
if (!response.ok) throw new Error(answer.error.message);
for (const result of answer.results) console.log(`${result.relevance_score.toFixed(3)}  ${documents[result.index]}`);
