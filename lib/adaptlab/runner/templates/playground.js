// The four panels. Each has a state, a function that computes what the state asks for, and one that shows it.
"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

// --- making elements: text goes in as text, whatever it says -------------------------------------------------------

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
const bar = (p, right = false) =>
  el("td", { class: right ? "bar right" : "bar", "--share": p }, el("span", {}, share(p)));
const marked = (text, right) => (right ? el("span", { class: "right" }, `${text} ✓`) : text);
const cell = (content) => (content instanceof HTMLTableCellElement ? content : el("td", {}, content));

// Rows begin with a heading; the other cells are text, elements, or bars.
function table(caption, heads, rows) {
  const head = el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)));
  const row = ([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), ...rest.map(cell));
  const body = el("tbody", {}, ...rows.map(row));
  return el("table", { class: "bars" }, el("caption", {}, caption), el("thead", {}, head), body);
}

// A line over whole numbers, shares from 0 to 1; `level` is a dashed line, `at` a dot.
function lineChart(values, { from = 0, at = null, level = null, x = "", alt }) {
  const last = Math.max(1, values.length - 1);
  const place = (i, y) => [40 + (350 * i) / last, 130 - 115 * y];
  const text = (where, words, anchor) => el("text", { x: where[0], y: where[1], "text-anchor": anchor }, words);
  const across = (y, kind) => el("line", { class: kind, x1: 40, x2: 390, y1: place(0, y)[1], y2: place(0, y)[1] });
  const path = values.map((y, i) => `${i ? "L" : "M"}${place(i, y).map((number) => number.toFixed(1))}`).join("");
  const dot = (y, i) => el("circle", { class: "dot", cx: place(i, y)[0], cy: place(i, y)[1], r: at === i ? 5 : 2.5 });
  return el(
    "svg",
    { viewBox: "0 0 400 165", role: "img", "aria-label": alt },
    ...[0, 0.5, 1].flatMap((y) => [across(y, "grid"), text([34, place(0, y)[1] + 4], String(y), "end")]),
    ...(level === null ? [] : [across(level, "path")]),
    el("path", { class: "line", d: path }),
    ...values.map(dot).filter((_, i) => at === null || i === at),
    text([40, 148], String(from), "middle"),
    text([390, 148], String(from + values.length - 1), "middle"),
    text([215, 162], x, "middle"),
  );
}

const options = (id, names) => show(id, ...names.map((name, i) => el("option", { value: i }, name)));

// --- the models ----------------------------------------------------------------------------------------------------

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
    const changed = learned.map((name) => [
      `${name}.weight`,
      withAdapter(tensors[`${name}.weight`], tensors[`${id}/${name}.A`], tensors[`${id}/${name}.B`], scale),
    ]);
    models[id] = new Transformer(page.config, { ...tensors, ...Object.fromEntries(changed) });
  }
  return models[id];
}

// --- one thing at a time -------------------------------------------------------------------------------------------

const CHUNK = 16; // tokens between two breaths, in which the page can scroll and the reader can ask for something else
class Overtaken extends Error {}
let turn = Promise.resolve();
let waiting = 0;
let note = ""; // what the reader has to know once all is done

const say = (text) => {
  $("status").textContent = text;
};

// Let the page do what waits, now and then.
let breathed = 0;
async function breathe() {
  if (performance.now() - breathed < 30) return;
  await new Promise((resolve) => setTimeout(resolve));
  breathed = performance.now();
}

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
    const alive = () => {
      if (mine !== asked) throw new Overtaken();
    };
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
    if (ids.length > context)
      throw new RangeError(`This text has ${ids.length} tokens; the model was made for ${context}.`);
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

// --- 1: a prompt, token by token -----------------------------------------------------------------------------------

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
  const token = (id, t) => {
    const loss = t ? -logSoftmax(logits[t - 1])[id] : 0;
    const known = t ? `loss ${loss.toFixed(2)} nats, probability ${share(Math.exp(-loss))}` : "the beginning";
    const names = { role: "option", id: `token-${t}`, title: known, "aria-label": `${visible(id)}, ${known}` };
    const text = visible(id) + (tokenizer.decode([id]).includes("\n") ? "\n" : "");
    return el("span", { class: "token", ...names, "--loss": loss, click: () => choose(t) }, text);
  };
  show("read-tokens", ...ids.map(token));
}

function choose(place) {
  if (!reading.ids.length) return; // nothing is read yet
  read.chosen = Math.max(0, Math.min(reading.ids.length - 1, place));
  showChosen();
  $(`token-${read.chosen}`)?.scrollIntoView({ block: "nearest" });
}

function showChosen() {
  const { ids, logits } = reading;
  const place = read.chosen;
  const actual = ids[place + 1]; // none behind the last
  const logprobs = logSoftmax(logits[place]);
  const order = [...logprobs.keys()].sort((a, b) => logprobs[b] - logprobs[a]);
  showNext(logprobs, order, actual);

  const answer = actual ?? order[0];
  const { name, shares } = headChosen(reading.attention(place), answer);
  const most = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 5);
  showLooked(name, shares, most, answer);

  const found =
    actual === undefined ? "" : ` In the text stands ${quoted(actual)}: loss ${(-logprobs[actual]).toFixed(2)} nats.`;
  const p = share(Math.exp(logprobs[order[0]]));
  $("read-said").textContent =
    `Behind ${quoted(ids[place])} the model expects ${quoted(order[0])}, with probability ${p}.${found} ` +
    `${name} looks most at ${quoted(ids[most[0]])}, token ${most[0] + 1}.`;
}

// The most probable tokens, and the one that stands there.
function showNext(logprobs, order, actual) {
  const last = actual === undefined;
  const shown = order.slice(0, 8);
  if (!last && !shown.includes(actual)) shown.push(actual);
  const button = (id) => {
    const label = `Write ${visible(id)}`;
    return el("button", { type: "button", disabled: !last, click: () => write(id), "aria-label": label }, visible(id));
  };
  const row = (id) => [button(id), bar(Math.exp(logprobs[id]), id === actual), id === actual ? "✓ stands there" : ""];
  const caption = last ? "Choose one to write it." : "Choose the last token to write on.";
  const focus = $("read-next").contains(document.activeElement);
  show("read-next", table(caption, ["token", "probability", ""], shown.map(row)));
  if (focus) $("read-next").querySelector("button").focus(); // so that Enter writes on
}

function showLooked(name, shares, most, answer) {
  const { ids } = reading;
  [...$("read-tokens").children].forEach((token, t) => {
    token.style.setProperty("--attention", shares[t] ?? 0);
    token.setAttribute("aria-selected", t === read.chosen);
  });
  $("read-tokens").setAttribute("aria-activedescendant", `token-${read.chosen}`);
  const before = (t) => Array.from(ids.slice(Math.max(1, t - 2), t), visible).join("");
  const place = (t) => el("span", { class: "text" }, before(t), el("strong", {}, visible(ids[t])));
  const row = (t) => [place(t), String(t + 1), bar(shares[t], ids[t] === answer)];
  show("read-looked", table(`${name}, at token ${read.chosen + 1}`, ["at", "token", "attention"], most.map(row)));
}

// The head that the reader named; or that which looks most at the answer itself, where the answer stands in the text.
function headChosen(watch, answer) {
  const one = ({ layer, head, shares }) => ({ name: `Layer ${layer + 1}, head ${head + 1}`, shares });
  const mean = () => {
    const shares = watch[0].shares.map((_, t) => watch.reduce((sum, head) => sum + head.shares[t], 0) / watch.length);
    return { name: "The mean of all heads", shares };
  };
  const wanted = Number($("read-head").value);
  if (wanted === 1) return mean();
  if (wanted > 1) return one(watch[wanted - 2]);
  const onAnswer = watch.map(({ shares }) =>
    shares.reduce((sum, p, t) => sum + (reading.ids[t] === answer ? p : 0), 0),
  );
  const best = argmax(onAnswer);
  return onAnswer[best] > 0.05 ? one(watch[best]) : mean();
}

function write(id) {
  $("read-prompt").value += tokenizer.decode([id]);
  return refreshRead();
}

// Write the most probable token, again and again, up to the end of a line or of the text.
const writing = (name, most) =>
  latest(name, async (alive) => {
    for (let n = 0; n < most; n++) {
      const logits = await reading.read(tokenizer.encode($("read-prompt").value), alive);
      const id = argmax(logits.at(-1));
      if (id === page.config.eos) {
        note = "The model ends the text here.";
        break;
      }
      const text = tokenizer.decode([id]);
      if (n && text.includes("\n")) break;
      $("read-prompt").value += text;
    }
    await reading.read(tokenizer.encode($("read-prompt").value), alive);
    showTokens();
    choose(reading.ids.length - 1);
  });
const writeStep = writing("the next token", 1);
const writeLine = writing("what comes next", LINE);

function startRead() {
  const names = page.prompts.map((one) => one.name);
  options("read-example", names);
  const { layers, heads } = page.config;
  const each = Array.from(
    { length: layers * heads },
    (_, i) => `layer ${Math.floor(i / heads) + 1}, head ${(i % heads) + 1}`,
  );
  options("read-head", ["the head that looks most at the answer", "the mean of all heads", ...each]);
  const start = () => {
    $("read-prompt").value = page.prompts[$("read-example").value].text;
    return refreshRead();
  };
  $("read-example").addEventListener("change", start);
  $("read-head").addEventListener("change", () => choose(read.chosen));
  let pause;
  $("read-prompt").addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(refreshRead, 250);
  });
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

// --- 2: examples in the prompt -------------------------------------------------------------------------------------

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
  const verdict = best === right ? "right" : `wrong, ${name(right)} is right`;
  $("show-said").textContent = `${name(best)}, with probability ${share(found[best])}: ${verdict}.`;
  const row = (_, i) => [marked(name(i), i === right), bar(found[i], i === right)];
  const caption = `“${question().text}” behind ${shown.length} examples`;
  show("show-answer", table(caption, ["label", "probability"], labels.map(row)));
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
  const focus = $("show-list").contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
  $("show-count").textContent = `Examples: ${shown.length}`;
  $("show-drop").disabled = !shown.length;
  $("show-add").disabled = shown.length + 2 > page.notes.pool.length;
  show("show-list", ...shown.map(listItem));
  if (focus) ($("show-list").querySelector(`[aria-label="${focus}"]:enabled`) ?? $("show-add")).focus();
}

function listItem(one, i) {
  const { shown } = sorting;
  const { names } = mapping();
  const option = (label) => el("option", { value: label, selected: label === one.label }, names[label]);
  const changes = {
    relabel: (event) => shown.with(i, { ...one, label: event.target.value }),
    move: () => [...shown.slice(0, i - 1), one, shown[i - 1], ...shown.slice(i + 1)],
    remove: () => shown.toSpliced(i, 1),
  };
  const act = (name) => (event) => changeShown(changes[name](event));
  const button = (name, label, sign) =>
    el("button", { type: "button", "aria-label": label, disabled: name === "move" && i === 0, click: act(name) }, sign);
  return el(
    "li",
    {},
    el("span", { class: one.label === one.was ? "text" : "text changed" }, one.text),
    el("select", { "aria-label": `Label of ${one.text}`, change: act("relabel") }, ...Object.keys(names).map(option)),
    button("move", `Move ${one.text} up`, "↑"),
    button("remove", `Remove ${one.text}`, "×"),
  );
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
    labels: () => {
      const labels = shuffled(sorting.shown.map((one) => one.label));
      return sorting.shown.map((one, i) => ({ ...one, label: labels[i] }));
    },
    reset: () => fresh(0, page.notes.start),
  };
  for (const [name, made] of Object.entries(buttons))
    $(`show-${name}`).addEventListener("click", () => changeShown(made()));
  return changeShown(fresh(0, page.notes.start));
}

// --- 3: read it, or learn it ---------------------------------------------------------------------------------------

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
  $("learn-said").textContent =
    `Base with the documents in its prompt: ${best(columns.with.base)}. With nothing there: ${parts.join(", ")}.`;
});

function showLearned(stem, texts, columns) {
  const titles = { without: "Nothing in the prompt", with: "Documents in the prompt" };
  const heads = [`${stem} …`, ...learners.map(learnerName)];
  const bars = (found, i) => learners.map((id) => (found[id] ? bar(found[id][i], i === 0) : "…"));
  const rows = (found) =>
    texts.map((text, i) => [el("span", { class: "text" }, marked(text.trim(), i === 0)), ...bars(found, i)]);
  const tables = Object.entries(titles).map(([key, title]) => el("div", {}, table(title, heads, rows(columns[key]))));
  show("learn-answer", el("div", { class: "two" }, ...tables));
}

function startLearn() {
  options("learn-fact", page.world.facts.map((fact) => fact.told));
  options("learn-asked", page.world.asked);
  options("learn-documents", ["the one that tells the fact", `all ${page.world.facts.length} facts`]);
  for (const name of ["fact", "asked", "documents"]) $(`learn-${name}`).addEventListener("change", refreshLearn);
  const described = (twin) => el("p", {}, el("strong", {}, twin.name), `: ${twin.about}`);
  const learned = page.twins.filter((twin) => twin.panel === "learn");
  show(
    "learn-twins",
    ...learned.flatMap((twin) => [described(twin), el("p", { class: "text" }, twin.texts.join("\n"))]),
  );
  return refreshLearn();
}

// --- 4: many tries -------------------------------------------------------------------------------------------------

const BATCH = 16;
const MOST = 64;
const tries = {}; // texts by model and problem

const problem = () => page.problems[$("try-problem").value];
const tried = () => (tries[`${$("try-model").value} ${$("try-problem").value}`] ??= { texts: [], random: uniforms(7) });
const answerOf = (text, numbers) =>
  (numbers ? text.match(/\d+/g) : text.toLowerCase().match(/\b(yes|no)\b/g))?.at(-1) ?? null;

// One text, token by token, and its log-probability, the end included.
async function sample(reader, prompt, random, alive) {
  const ids = tokenizer.encode(prompt);
  await reader.read(ids, alive);
  const written = [];
  let logprob = 0;
  let ended = false;
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
  const goal = BATCH * (1 + Math.floor(pool.texts.length / BATCH)); // what was broken off is made up for
  while (pool.texts.length < Math.min(goal, MOST)) {
    const one = await sample(readers[id], asked.prompt, pool.random, alive);
    const answer = answerOf(one.text, asked.numbers);
    pool.texts.push({ ...one, answer, right: answer === asked.answer });
    showTries();
  }
});

// How often each text is the best of n, over all subsets of n: in order, number k (from 0) wins C(N-1-k, n-1) / C(N, n)
// of them. Equal texts share.
function bestOf(logprobs, n) {
  const N = logprobs.length;
  const order = [...logprobs.keys()].sort((a, b) => logprobs[b] - logprobs[a]);
  const wins = new Array(N).fill(0);
  let chance = n / N; // of the first: that it is among the n
  order.forEach((i, k) => {
    wins[i] = chance;
    chance *= k < N - n ? (N - n - k) / (N - 1 - k) : 0;
  });
  const equal = (one, other) => one === other || Math.abs(one - other) < 1e-9;
  const level = (i) => order.filter((j) => equal(logprobs[j], logprobs[i]));
  return logprobs.map((_, i) => level(i).reduce((sum, j) => sum + wins[j], 0) / level(i).length);
}

// Shares under p^alpha of texts that were drawn from p. A text without an end has next to none.
function powered(logprobs, alpha) {
  return softmax(logprobs.map((logprob) => (alpha - 1) * Math.max(logprob, -1e6)));
}

function showTries() {
  const { texts } = tried();
  $("try-n").max = Math.max(BATCH, texts.length);
  $("try-more").disabled = texts.length >= MOST;
  const n = Math.max(1, Math.min(Number($("try-n").value), texts.length));
  const alpha = Number($("try-alpha").value);
  $("try-n-out").textContent = n === 1 ? "1 text" : `${n} texts`;
  $("try-alpha-out").textContent = alpha;
  if (!texts.length) return;
  const logprobs = texts.map((one) => one.logprob);
  const ways = {
    "one text": texts.map(() => 1 / texts.length),
    [`best of ${n}`]: bestOf(logprobs, n),
    [`p to the ${alpha}`]: powered(logprobs, alpha),
  };
  const right = Object.values(ways).map((weights) => total(weights, (one) => one.right));
  const effective = 1 / Object.values(ways)[2].reduce((sum, weight) => sum + weight ** 2, 0);
  $("try-said").textContent =
    `${texts.length} texts. Right: ${share(right[0])} of single texts, ${share(right[1])} of the best of ${n}, ` +
    `${share(right[2])} under p to the power ${alpha} (as if from ${effective.toFixed(1)} texts). ` +
    `The answer is ${problem().answer}.`;
  showAnswers(ways);
  const curve = texts.map((_, i) => total(bestOf(logprobs, i + 1), (one) => one.right));
  const alt = `Share right for the best of 1 to ${texts.length}: ${curve.map(share).join(", ")}`;
  show("try-curve", lineChart(curve, { from: 1, at: n - 1, level: right[2], x: "n", alt }));
  showTexts();
}

// What the texts that fit weigh together.
const total = (weights, fits) => tried().texts.reduce((sum, one, i) => sum + (fits(one) ? weights[i] : 0), 0);

function showAnswers(ways) {
  const best = Object.values(ways)[1];
  const of = (answer) => (one) => one.answer === answer;
  const answers = [...new Set(tried().texts.map((one) => one.answer))];
  answers.sort((a, b) => total(best, of(b)) - total(best, of(a)));
  const isRight = (answer) => answer === problem().answer;
  const bars = (answer) => Object.values(ways).map((weights) => bar(total(weights, of(answer)), isRight(answer)));
  const rows = answers.map((answer) => [marked(answer ?? "none", isRight(answer)), ...bars(answer)]);
  show("try-answers", table("How often each answer is given", ["answer", ...Object.keys(ways)], rows));
}

function showTexts() {
  const times = new Map();
  for (const one of tried().texts) times.set(one.text, { ...one, times: (times.get(one.text)?.times ?? 0) + 1 });
  const row = (one) => [
    el("span", { class: "text" }, one.text),
    one.logprob === -Infinity ? "cut off" : one.logprob.toFixed(2).replace("-", "−"),
    String(one.tokens),
    String(one.times),
    one.right ? marked("right", true) : "wrong",
  ];
  const rows = [...times.values()].sort((a, b) => b.logprob - a.logprob).map(row);
  show("try-texts", table(`${rows.length} different texts`, ["text", "log p, nats", "tokens", "times", ""], rows));
}

function startTry() {
  options("try-problem", page.problems.map((one) => one.question));
  const writers = ["base", ...page.twins.filter((twin) => twin.panel === "try").map((twin) => twin.id)];
  show("try-model", ...writers.map((id) => el("option", { value: id }, learnerName(id))));
  const change = () => {
    showTries();
    return tried().texts.length < BATCH ? writeMore() : turn;
  };
  for (const name of ["problem", "model"]) $(`try-${name}`).addEventListener("change", change);
  for (const name of ["n", "alpha"]) $(`try-${name}`).addEventListener("input", showTries);
  $("try-more").addEventListener("click", writeMore);
  return change();
}

// --- begin ---------------------------------------------------------------------------------------------------------

// For the console: playground.modelNamed("sharpened").forward(playground.tokenizer.encode("So,"), …)
globalThis.playground = { page, tokenizer, modelNamed, Reading, bestOf, powered, tries };
startRead();
startShow();
startLearn();
startTry();
