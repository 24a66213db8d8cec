"""A page that shows the model, takes a text, and shows its pieces and its vector."""

import html as escaping

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>@MODEL@</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44em; margin: 2em auto;
  padding: 0 1em; color: #222 }
h1 { margin-bottom: 0 }
#load { color: #666; margin-top: 0 }
label { display: block; margin: .8em 0 }
textarea, input { display: block; width: 100%; box-sizing: border-box; font: inherit;
  padding: .3em }
button { font: inherit; padding: .3em 1.5em }
[hidden] { display: none }
h2 { font-size: 1em; margin: 1.2em 0 .3em }
.piece { border: 1px solid #999; border-radius: 3px; padding: 0 .3em; margin: .1em;
  display: inline-block; text-align: center }
.piece small { display: block; color: #06c }
canvas { width: 100%; image-rendering: pixelated; border: 1px solid #ccc }
pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 12em; overflow: auto;
  font-size: .8em; background: #f5f5f5; padding: .5em }
#error { color: #b00 }
</style>
<h1>@MODEL@</h1>
<p id="load">&nbsp;</p>
<form id="form">
<label id="asked" hidden>Question <input id="question"></label>
<label>Text <textarea id="text" rows="3" required autofocus></textarea></label>
<label>Key, if the server asks for one <input id="key" type="password"></label>
<button>Encode</button>
</form>
<p id="error" role="alert"></p>
<div id="found" hidden>
<div id="answer"></div>
<h2>Pieces</h2>
<div id="pieces"></div>
<h2>Vector: <span id="shape"></span></h2>
<canvas id="strip" title="blue: below 0, red: above"></canvas>
<pre id="vector"></pre>
</div>
<script>
const verb = "@VERB@";
const at = id => document.getElementById(id);
at("asked").hidden = verb !== "answer";
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
const made = (name, text, ...inside) => {
  const element = document.createElement(name);
  element.append(text, ...inside);
  return element;
};
function piece(text, below) {
  const shown = made("span", text, ...(below ? [made("small", below)] : []));
  shown.className = "piece";
  return shown;
}
const number = x => typeof x === "number" ? +x.toPrecision(4) : x;
const listed = x => Array.isArray(x) ? x.map(listed).join(", ") : String(number(x));
// What a trained model reads: words, a question and a text, a pair, or a text.
function request(text) {
  if (verb === "tag") return text.trim().split(/\\s+/);
  if (verb === "answer") return [at("question").value, text];
  return text.includes(" ||| ") ? text.split(" ||| ") : text;
}
function showAnswer(asked, found) {
  for (const [name, [value]] of Object.entries(found)) {
    const row = made("div", "");
    if (name === "tags") row.append(...value.map((tag, i) => piece(asked[i], tag)));
    else row.append(listed(value));
    at("answer").append(made("h2", name[0].toUpperCase() + name.slice(1)), row);
  }
}
function draw(rows) {
  const strip = at("strip"), width = rows[0].length;
  strip.width = width;
  strip.height = rows.length;
  strip.style.height = Math.max(24, Math.min(300, 8 * rows.length)) + "px";
  const paint = strip.getContext("2d"), most = Math.max(...rows.flat().map(Math.abs));
  rows.forEach((row, y) => row.forEach((value, x) => {
    const light = 100 - 50 * Math.abs(value) / (most || 1);
    paint.fillStyle = `hsl(${value < 0 ? 220 : 10} 80% ${light}%)`;
    paint.fillRect(x, y, 1, 1);
  }));
}
at("form").addEventListener("submit", async event => {
  event.preventDefault();
  at("error").textContent = "";
  at("found").hidden = true;
  for (const id of ["answer", "pieces"]) at(id).replaceChildren();
  try {
    const text = at("text").value;
    const found = await ask("encode", {texts: [text], show_tokens: true});
    if (verb) {
      const asked = request(text);
      showAnswer(asked, await ask(verb, {texts: [asked]}));
    }
    at("pieces").append(...found.tokens[0].map(token => piece(token)));
    const values = found.result[0], sizes = [];
    for (let x = values; Array.isArray(x); x = x[0]) sizes.push(x.length);
    at("shape").textContent = sizes.join(" x ") + " numbers";
    draw(sizes.length > 1 ? values : [values]);
    const rounded = JSON.stringify(values, (_, x) => number(x));
    at("vector").textContent = rounded.replaceAll(",", ", ");
    at("found").hidden = false;
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
    at("load").textContent = "\\u00a0";
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
