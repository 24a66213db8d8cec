"""A page that shows the model, takes a text, and shows its pieces and its vector."""

import html as escaping

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>@MODEL@</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 44em; margin: 2em auto; padding: 0 1em }
textarea, input { width: 100%; box-sizing: border-box; font: inherit }
.piece { border: 1px solid #999; border-radius: 3px; padding: 0 .3em; margin: .1em;
  display: inline-block }
pre { white-space: pre-wrap; word-break: break-all; max-height: 12em; overflow: auto }
#error { color: #b00 }
</style>
<h1>@MODEL@</h1>
<p id="load"></p>
<form id="form">
<p><label>Text <textarea id="text" rows="3" required></textarea></label></p>
<p><label>Key, if the server asks for one <input id="key" type="password"></label></p>
<p><button>Encode</button></p>
</form>
<p id="error" role="alert"></p>
<p id="pieces"></p>
<p id="shape"></p>
<pre id="answer"></pre>
<pre id="vector"></pre>
<script>
const verb = "@VERB@";
const at = id => document.getElementById(id);
const headers = () => {
  const key = at("key").value;
  return key ? {Authorization: "Bearer " + key} : {};
};
async function ask(path, body) {
  const answer = await fetch(path, body ? {
    method: "POST", body: JSON.stringify(body),
    headers: {"Content-Type": "application/json", ...headers()},
  } : {headers: headers()});
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.description);
  return found;
}
at("form").addEventListener("submit", async event => {
  event.preventDefault();
  const cleared = ["error", "pieces", "shape", "answer", "vector"];
  for (const id of cleared) at(id).textContent = "";
  try {
    const found = await ask("encode", {texts: [at("text").value], show_tokens: true});
    for (const piece of found.tokens[0]) {
      const shown = document.createElement("span");
      shown.className = "piece";
      shown.textContent = piece;
      at("pieces").append(shown, " ");
    }
    if (verb === "classify" || verb === "tag") {
      const text = at("text").value;
      const asked = verb === "tag" ? text.trim().split(/\\s+/) : text;
      at("answer").textContent = JSON.stringify(await ask(verb, {texts: [asked]}));
    }
    const values = found.result[0], sizes = [];
    for (let x = values; Array.isArray(x); x = x[0]) sizes.push(x.length);
    at("shape").textContent = sizes.join(" x ") + " numbers";
    at("vector").textContent = JSON.stringify(values);
  } catch (error) {
    at("error").textContent = error.message;
  }
});
async function load() {
  try {
    const status = await ask("status/server"), counts = status.statistic;
    const {pending} = await ask("status/client");
    at("load").textContent = `${counts.num_data_request} requests with ` +
      `${counts.num_total_seq} texts so far, ${pending} texts waiting; up since ` +
      status.server_start_time;
  } catch (error) {
    at("load").textContent = "";
  }
}
load();
setInterval(load, 2000);
</script>
</html>
"""


def html(model: str, verb: str | None) -> str:
    """Returns the page of a model of this name, and of what it does with texts."""
    page = _PAGE.replace("@VERB@", verb or "")
    return page.replace("@MODEL@", escaping.escape(model))
