// The four panels. Each has a state, a function that computes what the state asks for, and one that shows it.
"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

// --- making elements: text goes in as text, whatever it says ----------------------------------------------------------

function el(tag, attributes = {}, ...children) {
  const drawn = ["svg", "line", "path", "circle", "text"].includes(tag);
  const element = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  element.append(...children);
  return element;
}

const show = (id, ...children) => $(id).replaceChildren(...children);
const share = (p) => (p < 0.005 && p > 0 ? "< .01" : p.toFixed(2).replace(/^0/, ""));
const bar = (p, right = false) => el("td", { class: right ? "bar right" : "bar", "--share": p }, el("span", {}, share(p)));
const cell = (content, kind = "") => (content instanceof HTMLElement && content.tagName === "TD" ? content : el("td", { class: kind }, content));

function table(caption, heads, rows) {
  return el(
    "table",
    { class: "bars" },
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), ...rest.map((one) => cell(one))))),
  );
}

// A line over whole numbers, shares from 0 to 1; `level` is a dashed line, `at` a dot.
function lineChart(values, { from = 0, at = null, level = null, x = "", alt }) {
  const last = Math.max(1, values.length - 1);
  const place = (i, y) => [40 + (350 * i) / last, 130 - 115 * y];
  const text = (where, words, anchor) => el("text", { x: where[0], y: where[1], "text-anchor": anchor }, words);
  const across = (y, kind) => el("line", { class: kind, x1: 40, x2: 390, y1: place(0, y)[1], y2: place(0, y)[1] });
  const path = values.map((y, i) => `${i ? "L" : "M"}${place(i, y).map((number) => number.toFixed(1))}`).join("");
  return el(
    "svg",
    { viewBox: "0 0 400 165", role: "img", "aria-label": alt },
    ...[0, 0.5, 1].flatMap((y) => [across(y, "grid"), text([34, place(0, y)[1] + 4], String(y), "end")]),
    ...(level === null ? [] : [across(level, "path")]),
    el("path", { class: "line", d: path }),
    ...values.map((y, i) => [i, y]).filter(([i]) => at === null || i === at).map(([i, y]) => el("circle", { class: "dot", cx: place(i, y)[0], cy: place(i, y)[1], r: at === null ? 2.5 : 5 })),
    text([40, 148], String(from), "middle"),
    text([390, 148], String(from + values.length - 1), "middle"),
    text([215, 162], x, "middle"),
  );
}

function options(id, names) {
  show(id, ...names.map((name, i) => el("option", { value: i }, name)));
}

// --- the models -------------------------------------------------------------------------------------------------------

const tokenizer = new Tokenizer(page.tokenizer);

function unpacked(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

const tensors = readTensors(unpacked($("weights").textContent), page.index);
const models = { base: new Transformer(page.config, tensors) };

// The base, or a twin: the same weights with its adapters added when it is first asked for.
function modelNamed(id) {
  if (!models[id]) {
    const { learned, scale } = page.twins.find((twin) => twin.id === id);
    const changed = learned.map((name) => [`${name}.weight`, withAdapter(tensors[`${name}.weight`], tensors[`${id}/${name}.A`], tensors[`${id}/${name}.B`], scale)]);
    models[id] = new Transformer(page.config, { ...tensors, ...Object.fromEntries(changed) });
  }
  return models[id];
}

// --- one thing at a time ----------------------------------------------------------------------------------------------

const CHUNK = 16; // tokens between two breaths, in which the page can scroll and the reader can ask for something else
class Overtaken extends Error {}
const breathe = () => new Promise((resolve) => setTimeout(resolve));
let turn = Promise.resolve();
let waiting = 0;
let note = ""; // what the reader has to know once all is done

const say = (text) => { $("status").textContent = text; };

// A function that does `work` when its turn comes. Asked again meanwhile, it gives up and begins anew.
function latest(name, work) {
  let asked = 0;
  const run = async (alive) => {
    try {
      alive();
      note = "";
      say(`Computing: ${name} …`);
      await breathe();
      await work(alive);
    } catch (error) {
      if (error instanceof Overtaken) return;
      note = error.message;
      console.error(error);
    } finally {
      if (--waiting === 0) say(note || "Ready.");
    }
  };
  return () => {
    const mine = ++asked;
    const alive = () => { if (mine !== asked) throw new Overtaken(); };
    waiting++;
    turn = turn.then(() => run(alive));
    return turn;
  };
}

// What a model has read, with the logits behind every token. What two texts begin with is read once.
class Reading {
  constructor(model) {
    this.model = model;
    this.cache = model.newCache();
    this.ids = [];
    this.logits = [];
  }

  async read(ids, alive) {
    const { context } = this.model.config;
    if (ids.length > context) throw new RangeError(`This text has ${ids.length} tokens; the model was made for ${context}.`);
    let same = 0;
    while (same < ids.length && ids[same] === this.ids[same]) same++;
    this.back(same);
    while (this.ids.length < ids.length) {
      const chunk = ids.slice(this.ids.length, this.ids.length + CHUNK);
      this.logits.push(...this.model.forward(chunk, this.cache));
      this.ids.push(...chunk);
      await breathe();
      alive();
    }
    return this.logits;
  }

  back(length) {
    this.cache.length = this.ids.length = this.logits.length = length;
  }

  // For every layer and head: how much the token at a place attends to those before it. It is read once more for that.
  attention(place) {
    const watch = [];
    this.cache.length = place;
    this.model.forward([this.ids[place]], this.cache, watch);
    this.cache.length = this.ids.length;
    return watch;
  }

  // The probability of each option behind a text, among the options: what `al.Chooser` computes.
  async choose(text, texts, alive) {
    const prompt = tokenizer.encode(text);
    const scores = [];
    for (const option of texts) {
      const ids = tokenizer.encode(text + option);
      const logits = await this.read(ids, alive);
      let score = 0;
      for (let t = prompt.length; t < ids.length; t++) score += logSoftmax(logits[t - 1])[ids[t]];
      scores.push(score);
    }
    return softmax(scores);
  }
}

// --- 1: a prompt, token by token --------------------------------------------------------------------------------------

const reading = new Reading(models.base);
const read = { chosen: 0 };
const LINE = 60; // tokens that are written at most

const visible = (id) => {
  if (page.tokenizer.special.includes(tokenizer.tokens[id])) return `⟨${tokenizer.tokens[id].slice(1, -1)}⟩`;
  return tokenizer.decode([id]).replaceAll("\n", "↵");
};
const quoted = (id) => `“${visible(id)}”`;

const refreshRead = latest("the prompt", async (alive) => {
  await reading.read(tokenizer.encode($("read-prompt").value), alive);
  read.chosen = reading.ids.length - 1;
  showTokens();
  showChosen();
});

function showTokens() {
  const { ids, logits } = reading;
  show("read-tokens", ...ids.map((id, t) => {
    const loss = t ? -logSoftmax(logits[t - 1])[id] : 0;
    const known = t ? `loss ${loss.toFixed(2)} nats, probability ${share(Math.exp(-loss))}` : "the beginning";
    const text = visible(id) + (tokenizer.decode([id]).includes("\n") ? "\n" : "");
    return el("span", { class: "token", role: "option", id: `token-${t}`, "--loss": loss, title: known, "aria-label": `${visible(id)}, ${known}`, click: () => choose(t) }, text);
  }));
}

function choose(place) {
  read.chosen = Math.max(0, Math.min(reading.ids.length - 1, place));
  showChosen();
  $(`token-${read.chosen}`).scrollIntoView({ block: "nearest" });
}

function showChosen() {
  const { ids, logits } = reading;
  const place = read.chosen;
  $("read-tokens").setAttribute("aria-activedescendant", `token-${place}`);
  const logprobs = logSoftmax(logits[place]);
  const order = [...logprobs.keys()].sort((a, b) => logprobs[b] - logprobs[a]);
  const last = place === ids.length - 1;
  const actual = ids[place + 1];
  const row = (id) => [
    el("button", { type: "button", disabled: !last, click: () => write(id), "aria-label": `Write ${visible(id)}` }, visible(id)),
    bar(Math.exp(logprobs[id]), id === actual),
    id === actual ? "✓ stands there" : "",
  ];
  const shown = order.slice(0, 8);
  if (!last && !shown.includes(actual)) shown.push(actual);
  show("read-next", table(last ? "Choose one to write it." : "Choose the last token to write on.", ["token", "probability", ""], shown.map(row)));

  const answer = last ? order[0] : actual;
  const { name, shares } = headChosen(reading.attention(place), answer);
  [...$("read-tokens").children].forEach((token, t) => {
    token.style.setProperty("--attention", shares[t] ?? 0);
    token.setAttribute("aria-selected", t === place);
  });
  const most = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 5);
  const around = (t) => el("span", { class: "text" }, t > 1 ? `${visible(ids[t - 2])}${visible(ids[t - 1])}` : "", el("strong", {}, visible(ids[t])));
  show("read-looked", table(`${name}, at token ${place + 1}`, ["at", "token", "attention"], most.map((t) => [around(t), String(t + 1), bar(shares[t], ids[t] === answer)])));
  const loss = last ? "" : ` In the text stands ${quoted(actual)}: loss ${(-logprobs[actual]).toFixed(2)} nats.`;
  $("read-said").textContent = `Behind ${quoted(ids[place])} the model expects ${quoted(order[0])}, with probability ${share(Math.exp(logprobs[order[0]]))}.${loss} ${name} looks most at ${quoted(ids[most[0]])}, token ${most[0] + 1}.`;
}

// The head that the reader named; or that which looks most at the answer itself, where the answer stands in the text.
function headChosen(watch, answer) {
  const named = ({ layer, head }) => `Layer ${layer + 1}, head ${head + 1}`;
  const mean = () => ({ name: "The mean of all heads", shares: watch[0].shares.map((_, t) => watch.reduce((sum, one) => sum + one.shares[t], 0) / watch.length) });
  const wanted = Number($("read-head").value);
  if (wanted === 1) return mean();
  if (wanted > 1) return { name: named(watch[wanted - 2]), shares: watch[wanted - 2].shares };
  const onAnswer = watch.map(({ shares }) => shares.reduce((sum, share, t) => sum + (reading.ids[t] === answer ? share : 0), 0));
  const best = argmax(onAnswer);
  return onAnswer[best] > 0.05 ? { name: named(watch[best]), shares: watch[best].shares } : mean();
}

function write(id) {
  $("read-prompt").value += tokenizer.decode([id]);
  return refreshRead();
}

// Write the most probable token, again and again, up to the end of a line or of the text.
const writing = (name, most) => latest(name, async (alive) => {
  for (let n = 0; n < most; n++) {
    const logits = await reading.read(tokenizer.encode($("read-prompt").value), alive);
    const id = argmax(logits.at(-1));
    if (id === page.config.eos) note = "The model ends the text here.";
    const text = tokenizer.decode([id]);
    if (id === page.config.eos || (n && text.includes("\n"))) break;
    $("read-prompt").value += text;
  }
  await reading.read(tokenizer.encode($("read-prompt").value), alive);
  showTokens();
  choose(reading.ids.length - 1);
});
const writeStep = writing("the next token", 1);
const writeLine = writing("what comes next", LINE);

function startRead() {
  options("read-example", page.prompts.map((one) => one.name));
  const { layers, heads } = page.config;
  const each = Array.from({ length: layers * heads }, (_, i) => `layer ${Math.floor(i / heads) + 1}, head ${(i % heads) + 1}`);
  options("read-head", ["the head that looks most at the answer", "the mean of all heads", ...each]);
  const start = () => { $("read-prompt").value = page.prompts[$("read-example").value].text; return refreshRead(); };
  $("read-example").addEventListener("change", start);
  $("read-head").addEventListener("change", showChosen);
  let pause;
  $("read-prompt").addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(refreshRead, 250); });
  $("read-step").addEventListener("click", writeStep);
  $("read-line").addEventListener("click", writeLine);
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10, Home: -Infinity, End: Infinity };
  $("read-tokens").tabIndex = 0;
  $("read-tokens").addEventListener("keydown", (event) => {
    if (!(event.key in moves)) return;
    event.preventDefault();
    choose(read.chosen + moves[event.key]);
  });
  return start();
}

// --- 2: examples in the prompt ----------------------------------------------------------------------------------------

const sorting = { reading: new Reading(models.base), shown: [], random: uniforms(1) };
const fresh = (from, to) => page.notes.pool.slice(from, to).map(({ text, label }) => ({ text, label, was: label }));
const mapping = () => page.notes.mappings[$("show-names").value];
const question = () => page.notes.questions[$("show-question").value];

// The very prompt of `al.in_context`.
function notesPrompt(shown) {
  const { head, turn, separator, end } = page.notes.format;
  const asked = (text) => turn.replace("{query}", () => text);
  const turns = shown.map(({ text, label }) => asked(text) + separator + mapping().names[label] + end);
  return head.replace("{instruction}", () => mapping().instruction) + turns.join("") + asked(question().text);
}

const refreshShow = latest("the answer behind the examples", async (alive) => {
  const { shown } = sorting;
  const { separator } = page.notes.format;
  const labels = Object.keys(mapping().names);
  const texts = labels.map((label) => separator + mapping().names[label]);
  const answer = (count) => sorting.reading.choose(notesPrompt(shown.slice(0, count)), texts, alive);
  const right = labels.indexOf(question().label);
  const found = await answer(shown.length);
  const name = (i) => mapping().names[labels[i]];
  const best = argmax(found);
  $("show-said").textContent = `${name(best)}, with probability ${share(found[best])}: ${best === right ? "right" : `wrong, ${name(right)} is right`}.`;
  show("show-answer", table(`“${question().text}” behind ${shown.length} examples`, ["label", "probability"], labels.map((_, i) => [i === right ? el("span", { class: "right" }, `${name(i)} ✓`) : name(i), bar(found[i], i === right)])));
  $("show-prompt").textContent = notesPrompt(shown);
  const curve = [];
  for (let count = 0; count < shown.length; count++) curve.push((await answer(count))[right]);
  curve.push(found[right]);
  const alt = `Probability of the right label behind 0 to ${shown.length} examples: ${curve.map(share).join(", ")}`;
  show("show-curve", lineChart(curve, { level: 1 / labels.length, x: "examples", alt }));
});

function changeShown(shown) {
  sorting.shown = shown;
  listShown();
  return refreshShow();
}

function listShown() {
  const { shown } = sorting;
  const { names } = mapping();
  $("show-count").textContent = `Examples: ${shown.length}`;
  $("show-drop").disabled = !shown.length;
  $("show-add").disabled = shown.length + 2 > page.notes.pool.length;
  const without = (i) => shown.filter((_, j) => j !== i);
  const moved = (i) => [...shown.slice(0, i - 1), shown[i], shown[i - 1], ...shown.slice(i + 1)];
  show("show-list", ...shown.map((one, i) => {
    const choices = Object.keys(names).map((label) => el("option", { value: label, selected: label === one.label }, names[label]));
    const relabel = (event) => changeShown(shown.map((other, j) => (j === i ? { ...one, label: event.target.value } : other)));
    const changed = one.label === one.was ? "" : " changed";
    return el(
      "li",
      {},
      el("span", { class: `text${changed}` }, one.text),
      el("select", { "aria-label": `Label of ${one.text}`, change: relabel }, ...choices),
      el("button", { type: "button", "aria-label": `Move ${one.text} up`, disabled: i === 0, click: () => changeShown(moved(i)) }, "↑"),
      el("button", { type: "button", "aria-label": `Remove ${one.text}`, click: () => changeShown(without(i)) }, "×"),
    );
  }));
}

function shuffled(list) {
  const found = [...list];
  for (let i = found.length - 1; i > 0; i--) {
    const j = Math.floor(sorting.random() * (i + 1));
    [found[i], found[j]] = [found[j], found[i]];
  }
  return found;
}

function startShow() {
  options("show-names", page.notes.mappings.map((one) => one.name));
  options("show-question", page.notes.questions.map((one) => one.text));
  $("show-names").addEventListener("change", () => changeShown(sorting.shown));
  $("show-question").addEventListener("change", refreshShow);
  const unused = () => fresh(0).filter(({ text }) => !sorting.shown.some((one) => one.text === text));
  const buttons = {
    add: () => [...sorting.shown, ...unused().slice(0, 2)],
    drop: () => sorting.shown.slice(0, -2),
    order: () => shuffled(sorting.shown),
    labels: () => { const labels = shuffled(sorting.shown.map((one) => one.label)); return sorting.shown.map((one, i) => ({ ...one, label: labels[i] })); },
    reset: () => fresh(0, page.notes.start),
  };
  for (const [name, made] of Object.entries(buttons)) $(`show-${name}`).addEventListener("click", () => changeShown(made()));
  return changeShown(fresh(0, page.notes.start));
}

// --- 3: read it, or learn it ------------------------------------------------------------------------------------------

const learners = ["base", ...page.twins.filter((twin) => twin.panel === "learn").map((twin) => twin.id)];
const learnerName = (id) => (id === "base" ? "base" : page.twins.find((twin) => twin.id === id).name);
const readers = {};

const refreshLearn = latest("what each model answers", async (alive) => {
  const fact = page.world.facts[$("learn-fact").value];
  const { stem, texts } = fact.questions[$("learn-asked").value];
  const documents = $("learn-documents").value === "0" ? fact.document : page.world.documents;
  const columns = { without: {}, with: {} };
  for (const id of learners) {
    readers[id] ??= new Reading(modelNamed(id));
    columns.without[id] = await readers[id].choose(stem, texts, alive);
    columns.with[id] = await readers[id].choose(`${documents} ${stem}`, texts, alive);
    showLearned(stem, texts, columns);
  }
  const best = (found) => `${found[0] === Math.max(...found) ? "right" : "wrong"} (${share(found[0])})`;
  const parts = learners.map((id) => `${learnerName(id)} ${best(columns.without[id])}`);
  $("learn-said").textContent = `Base with the documents in its prompt: ${best(columns.with.base)}. With nothing there: ${parts.join(", ")}.`;
});

function showLearned(stem, texts, columns) {
  const titles = { without: "Nothing in the prompt", with: "Documents in the prompt" };
  const first = (text, i) => el("span", { class: i ? "text" : "text right" }, text.trim(), i ? "" : " ✓");
  const cells = (found, i) => learners.map((id) => (found[id] ? bar(found[id][i], i === 0) : "…"));
  const heads = [`${stem} …`, ...learners.map(learnerName)];
  show("learn-answer", el("div", { class: "two" }, ...Object.entries(titles).map(([key, title]) => el("div", {}, table(title, heads, texts.map((text, i) => [first(text, i), ...cells(columns[key], i)]))))));
}

function startLearn() {
  options("learn-fact", page.world.facts.map((fact) => fact.told));
  options("learn-asked", page.world.asked);
  options("learn-documents", ["the one that tells the fact", `all ${page.world.facts.length} facts`]);
  for (const name of ["fact", "asked", "documents"]) $(`learn-${name}`).addEventListener("change", refreshLearn);
  show("learn-twins", ...page.twins.filter((twin) => twin.panel === "learn").map((twin) =>
    el("div", {}, el("p", {}, el("strong", {}, twin.name), `: ${twin.about}`), el("p", { class: "text" }, twin.texts.join("\n")))));
  return refreshLearn();
}

// --- 4: many tries ----------------------------------------------------------------------------------------------------

const BATCH = 16;
const MOST = 64;
const tries = {}; // texts by model and problem

const problem = () => page.problems[$("try-problem").value];
const tried = () => (tries[`${$("try-model").value} ${$("try-problem").value}`] ??= { texts: [], random: uniforms(7) });
const answerOf = (text, numbers) => (numbers ? text.match(/\d+/g) : text.toLowerCase().match(/\b(yes|no)\b/g))?.at(-1) ?? null;

// One text, token by token, and its log-probability, the end included.
async function sample(reader, prompt, random, alive) {
  const ids = tokenizer.encode(prompt);
  await reader.read(ids, alive);
  const written = [];
  let logprob = 0, ended = false;
  while (!ended && written.length < page.longest) {
    const logprobs = logSoftmax(reader.logits.at(-1));
    const id = draw(logprobs, random());
    logprob += logprobs[id];
    written.push(id);
    ended = id === page.config.eos || tokenizer.decode([id]).includes("\n");
    if (!ended) await reader.read([...ids, ...written], alive);
  }
  return { text: tokenizer.decode(written).trim(), tokens: written.length, logprob: ended ? logprob : -Infinity };
}

const writeMore = latest("texts", async (alive) => {
  const pool = tried();
  const asked = problem();
  const id = $("try-model").value;
  readers[id] ??= new Reading(modelNamed(id));
  for (let n = Math.min(BATCH, MOST - pool.texts.length); n > 0; n--) {
    const one = await sample(readers[id], asked.prompt, pool.random, alive);
    const answer = answerOf(one.text, asked.numbers);
    pool.texts.push({ ...one, answer, right: answer === asked.answer });
    showTries();
  }
});

// How often each text is the best of n, over all subsets of n: in order, number k (from 0) wins C(N-1-k, n-1) / C(N, n) of
// them. Equal texts share.
function bestOf(logprobs, n) {
  const N = logprobs.length;
  const order = [...logprobs.keys()].sort((a, b) => logprobs[b] - logprobs[a]);
  const wins = new Array(N).fill(0);
  let chance = n / N; // of the first: that it is among the n
  order.forEach((i, k) => {
    wins[i] = chance;
    chance *= k < N - n ? (N - n - k) / (N - 1 - k) : 0;
  });
  const level = (i) => logprobs.flatMap((other, j) => (Math.abs(other - logprobs[i]) < 1e-9 || other === logprobs[i] ? [j] : []));
  return logprobs.map((_, i) => level(i).reduce((sum, j) => sum + wins[j], 0) / level(i).length);
}

// Shares under p^alpha of texts that were drawn from p.
function powered(logprobs, alpha) {
  const most = Math.max(...logprobs);
  const weights = logprobs.map((logprob) => (logprob === -Infinity ? (alpha > 1 ? 0 : 1) : Math.exp((alpha - 1) * (logprob - most))));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

function showTries() {
  const { texts } = tried();
  $("try-n").max = Math.max(BATCH, texts.length);
  const n = Math.max(1, Math.min(Number($("try-n").value), texts.length));
  const alpha = Number($("try-alpha").value);
  $("try-n-out").textContent = `${n} text${n > 1 ? "s" : ""}`;
  $("try-alpha-out").textContent = alpha;
  $("try-more").disabled = texts.length >= MOST;
  if (!texts.length) return;
  const logprobs = texts.map((one) => one.logprob);
  const ways = { one: texts.map(() => 1 / texts.length), best: bestOf(logprobs, n), power: powered(logprobs, alpha) };
  const sum = (weights, fits) => texts.reduce((total, one, i) => total + (fits(one) ? weights[i] : 0), 0);
  const right = Object.fromEntries(Object.entries(ways).map(([name, weights]) => [name, sum(weights, (one) => one.right)]));
  const effective = 1 / ways.power.reduce((total, weight) => total + weight ** 2, 0);
  $("try-said").textContent = `${texts.length} texts. Right: ${share(right.one)} of single texts, ${share(right.best)} of the best of ${n}, ${share(right.power)} under p to the power ${alpha} (as if from ${effective.toFixed(1)} texts). The answer is ${problem().answer}.`;
  const answers = [...new Set(texts.map((one) => one.answer))].sort((a, b) => sum(ways.best, (one) => one.answer === b) - sum(ways.best, (one) => one.answer === a));
  const named = (answer) => (answer === problem().answer ? el("span", { class: "right" }, `${answer} ✓`) : answer ?? "none");
  const shares = (answer) => Object.values(ways).map((weights) => bar(sum(weights, (one) => one.answer === answer), answer === problem().answer));
  show("try-answers", table("How often each answer is given", ["answer", "one text", `best of ${n}`, `p to the ${alpha}`], answers.map((answer) => [named(answer), ...shares(answer)])));
  const curve = texts.map((_, i) => bestOf(logprobs, i + 1).reduce((total, weight, j) => total + (texts[j].right ? weight : 0), 0));
  show("try-curve", lineChart(curve, { from: 1, at: n - 1, level: right.power, x: "n", alt: `Share right for the best of 1 to ${texts.length}: ${curve.map(share).join(", ")}` }));
  const distinct = [...new Set(texts.map((one) => one.text))].map((text) => ({ ...texts.find((one) => one.text === text), times: texts.filter((one) => one.text === text).length }));
  distinct.sort((a, b) => b.logprob - a.logprob);
  const words = (one) => el("span", { class: "text" }, one.text);
  show("try-texts", table(`${distinct.length} different texts`, ["text", "log p, nats", "tokens", "times", "right"], distinct.map((one) => [words(one), one.logprob === -Infinity ? "cut off" : one.logprob.toFixed(2), String(one.tokens), String(one.times), one.right ? el("span", { class: "right" }, "✓ right") : "wrong"])));
}

function startTry() {
  options("try-problem", page.problems.map((one) => one.question));
  const writers = ["base", ...page.twins.filter((twin) => twin.panel === "try").map((twin) => twin.id)];
  show("try-model", ...writers.map((id) => el("option", { value: id }, learnerName(id))));
  const change = () => { showTries(); return tried().texts.length ? turn : writeMore(); };
  for (const name of ["problem", "model"]) $(`try-${name}`).addEventListener("change", change);
  for (const name of ["n", "alpha"]) $(`try-${name}`).addEventListener("input", showTries);
  $("try-more").addEventListener("click", writeMore);
  return change();
}

// --- begin ------------------------------------------------------------------------------------------------------------

globalThis.playground = { page, tokenizer, models, modelNamed, Reading, bestOf, powered, tries, notesPrompt, finished: () => turn };
startRead();
startShow();
startLearn();
startTry();
