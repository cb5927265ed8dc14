// A language model, whole: its tokenizer, its forward pass, and how it is sampled. Nothing else is needed, and nothing
// is fetched. Sizes come from the model's own configuration; a matrix is { values, rows, columns }, row by row.
"use strict";

// --- text to tokens and back ---------------------------------------------------------------------------------------

// Byte-level BPE, as in GPT-2: a pattern cuts words, and their bytes are merged pair by pair, those learned first before
// the others. A space belongs to the word behind it.
const ENDINGS = "'s|'t|'re|'ve|'m|'ll|'d";
const LETTERS = " ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+";
const SPACES = "\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+";
const WORDS = new RegExp(`${ENDINGS}|${LETTERS}|${SPACES}`, "gu");

// Tokens are stored as text, with one printable character for each byte; bytes that print stand for themselves.
const printable = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
const BYTES = [...Array(256).keys()];
const rest = BYTES.filter((byte) => !printable(byte));
const CHARACTERS = BYTES.map((byte) => String.fromCodePoint(printable(byte) ? byte : 256 + rest.indexOf(byte)));
const BYTE_OF = new Map(CHARACTERS.map((character, byte) => [character, byte]));

class Tokenizer {
  constructor({ tokens, merges, special, bos }) {
    this.tokens = tokens;
    this.ids = new Map(tokens.map((token, id) => [token, id]));
    this.rank = new Map(merges.map((pair, rank) => [pair, rank]));
    this.special = new Set(special);
    this.bos = bos;
    this.known = new Map(); // words that were cut before
  }

  // The ids of a text, behind the token that begins every text.
  encode(text) {
    const ids = this.encodePart(text);
    return ids[0] === this.bos ? ids : [this.bos, ...ids];
  }

  encodePart(text) {
    const names = new RegExp(`(${[...this.special].join("|")})`); // none holds a character that patterns use
    const words = (part) => (part.match(WORDS) ?? []).flatMap((word) => this.encodeWord(word));
    return text.split(names).flatMap((part) => (this.special.has(part) ? [this.ids.get(part)] : words(part)));
  }

  encodeWord(word) {
    if (this.known.has(word)) return this.known.get(word);
    const parts = Array.from(new TextEncoder().encode(word), (byte) => CHARACTERS[byte]);
    for (;;) {
      const ranks = parts.map((part, i) => this.rank.get(`${part} ${parts[i + 1]}`) ?? Infinity);
      const best = Math.min(...ranks);
      if (best === Infinity) break;
      const at = ranks.indexOf(best);
      parts.splice(at, 2, parts[at] + parts[at + 1]);
    }
    const ids = parts.map((part) => this.ids.get(part));
    this.known.set(word, ids);
    return ids;
  }

  decode(ids) {
    const bytes = ids.flatMap((id) =>
      this.special.has(this.tokens[id]) ? [] : Array.from(this.tokens[id], (character) => BYTE_OF.get(character)),
    );
    return new TextDecoder().decode(new Uint8Array(bytes));
  }
}

// --- the weights ---------------------------------------------------------------------------------------------------

// bfloat16 is the upper half of a float32.
function fromBfloat16(halves) {
  const floats = new Float32Array(halves.length);
  const bits = new Uint32Array(floats.buffer);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i] << 16;
  return floats;
}

// One byte a weight, and one scale a row.
function fromInt8(bytes, scales, columns) {
  return Float32Array.from(bytes, (byte, i) => byte * scales[Math.floor(i / columns)]);
}

// All tensors of the page by name. `index` says where each stands in the bytes.
function readTensors(bytes, index) {
  const tensors = {};
  for (const { name, rows, columns, format, offset } of index) {
    const size = rows * columns;
    const values =
      format === "int8"
        ? fromInt8(new Int8Array(bytes, offset + 4 * rows, size), new Float32Array(bytes, offset, rows), columns)
        : fromBfloat16(new Uint16Array(bytes, offset, size));
    tensors[name] = { values, rows, columns };
  }
  return tensors;
}

// LoRA: what a tuned model adds to a matrix W is a product of two thin ones, scale * B A.
function withAdapter(W, A, B, scale) {
  const values = Float32Array.from(W.values);
  for (let row = 0; row < B.rows; row++)
    for (let r = 0; r < A.rows; r++) {
      const b = scale * B.values[row * A.rows + r];
      for (let column = 0; column < W.columns; column++)
        values[row * W.columns + column] += b * A.values[r * W.columns + column];
    }
  return { ...W, values };
}

// --- the forward pass ----------------------------------------------------------------------------------------------

// W x for every row x.
function linear(W, x) {
  const { rows, columns } = W;
  const count = x.length / columns;
  const y = new Float32Array(count * rows);
  const fours = count - (count % 4);
  for (let t = 0; t < fours; t += 4) linearFour(W, x.subarray(t * columns), y.subarray(t * rows));
  for (let t = fours; t < count; t++) linearOne(W, x.subarray(t * columns), y.subarray(t * rows));
  return y;
}

// Two sums: the processor adds to one while the other is under way.
function linearOne({ values, rows, columns }, x, y) {
  for (let row = 0, w = 0; row < rows; row++) {
    let even = 0;
    let odd = 0;
    for (let i = 0; i < columns; i += 2, w += 2) {
      even += values[w] * x[i];
      odd += values[w + 1] * x[i + 1];
    }
    y[row] = even + odd;
  }
}

// Four rows share each weight that is fetched from memory. It is fetching, not multiplying, that takes the time.
function linearFour({ values, rows, columns }, x, y) {
  const [one, two, three, four] = [0, 1, 2, 3].map((t) => x.subarray(t * columns));
  for (let row = 0, w = 0; row < rows; row++) {
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let i = 0; i < columns; i++, w++) {
      const weight = values[w];
      a += weight * one[i];
      b += weight * two[i];
      c += weight * three[i];
      d += weight * four[i];
    }
    y[row] = a;
    y[rows + row] = b;
    y[2 * rows + row] = c;
    y[3 * rows + row] = d;
  }
}

const add = (x, y) => x.map((value, i) => value + y[i]);

// RMSNorm: every row is brought to the same length; a learned gain says how much of each number goes on.
function normalise(x, gain, epsilon) {
  const size = gain.length;
  const y = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += size) {
    let squares = 0;
    for (let i = 0; i < size; i++) squares += x[start + i] ** 2;
    const scale = 1 / Math.sqrt(squares / size + epsilon);
    for (let i = 0; i < size; i++) y[start + i] = x[start + i] * scale * gain[i];
  }
  return y;
}

// Rotary embedding: pairs of numbers turn by an angle that grows with the position, so that a query meets a key at the
// angle of their distance. Angles are rounded to float32, as they were when the model was trained.
function rotate(x, headSize, heads, first, theta) {
  const half = headSize / 2;
  const speeds = Array.from({ length: half }, (_, i) => Math.fround(1 / Math.fround(theta ** ((2 * i) / headSize))));
  for (let start = 0; start < x.length; start += headSize) {
    const position = first + Math.floor(start / (headSize * heads));
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * speeds[i]);
      const [a, b] = [x[start + i], x[start + half + i]];
      x[start + i] = a * Math.cos(angle) - b * Math.sin(angle);
      x[start + half + i] = b * Math.cos(angle) + a * Math.sin(angle);
    }
  }
}

function softmax(scores) {
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const shares = scores.map((score) => Math.exp(score - most));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share) => share / sum);
}

// The shares in which a query attends to the first `count` keys, which stand `width` numbers apart.
function attention(query, keys, width, count) {
  const scores = new Float32Array(count);
  for (let s = 0; s < count; s++) {
    let product = 0;
    for (let n = 0; n < query.length; n++) product += query[n] * keys[s * width + n];
    scores[s] = product / Math.sqrt(query.length);
  }
  return softmax(scores);
}

// Keys and values of what was read, layer by layer, so that nothing is read twice. `length` may be set back: what
// stands behind it is forgotten.
class Cache {
  constructor(layers) {
    this.length = 0;
    this.layers = Array.from({ length: layers }, () => ({ keys: new Float32Array(0), values: new Float32Array(0) }));
  }

  append(layer, keys, values, size) {
    const held = this.layers[layer];
    const start = this.length * size;
    for (const [name, fresh] of Object.entries({ keys, values })) {
      if (held[name].length < start + fresh.length) {
        const larger = new Float32Array(2 * (start + fresh.length));
        larger.set(held[name].subarray(0, start));
        held[name] = larger;
      }
      held[name].set(fresh, start);
    }
    return held;
  }
}

class Transformer {
  // config: layers, heads, keyHeads, headSize, theta, epsilon, context, eos; tensors: by their names in the file.
  constructor(config, tensors) {
    this.config = config;
    this.embedding = tensors["model.embed_tokens.weight"];
    this.norm = tensors["model.norm.weight"].values;
    this.layers = Array.from({ length: config.layers }, (_, i) => {
      const part = (name) => tensors[`model.layers.${i}.${name}.weight`];
      return {
        beforeAttention: part("input_layernorm").values,
        query: part("self_attn.q_proj"),
        key: part("self_attn.k_proj"),
        value: part("self_attn.v_proj"),
        out: part("self_attn.o_proj"),
        beforeFeedForward: part("post_attention_layernorm").values,
        gate: part("mlp.gate_proj"),
        up: part("mlp.up_proj"),
        down: part("mlp.down_proj"),
      };
    });
  }

  newCache() {
    return new Cache(this.layers.length);
  }

  // Read tokens behind what the cache holds. Gives, for each of them, the logits of the token that comes next.
  // `watch`, an array, receives for every layer and head how much the last token attends to each one.
  forward(ids, cache, watch = null) {
    const { epsilon } = this.config;
    let x = this.embed(ids);
    this.layers.forEach((layer, i) => {
      x = add(x, this.attend(layer, i, normalise(x, layer.beforeAttention, epsilon), cache, watch));
      x = add(x, this.feedForward(layer, normalise(x, layer.beforeFeedForward, epsilon)));
    });
    cache.length += ids.length;
    const logits = linear(this.embedding, normalise(x, this.norm, epsilon)); // the embedding again: the two are tied
    const size = this.embedding.rows;
    return ids.map((_, t) => logits.subarray(t * size, (t + 1) * size));
  }

  embed(ids) {
    const { values, columns } = this.embedding;
    const x = new Float32Array(ids.length * columns);
    ids.forEach((id, t) => x.set(values.subarray(id * columns, (id + 1) * columns), t * columns));
    return x;
  }

  // Each head of each token compares its query with the keys of all tokens up to its own, and takes their values in the
  // shares that the softmax gives.
  attend(layer, i, x, cache, watch) {
    const { heads, keyHeads, headSize, theta } = this.config;
    const query = linear(layer.query, x);
    const key = linear(layer.key, x);
    rotate(query, headSize, heads, cache.length, theta);
    rotate(key, headSize, keyHeads, cache.length, theta);
    const width = keyHeads * headSize;
    const { keys, values } = cache.append(i, key, linear(layer.value, x), width);
    const mixed = new Float32Array(query.length);
    const count = query.length / (heads * headSize);
    for (let t = 0; t < count; t++)
      for (let head = 0; head < heads; head++) {
        const q = (t * heads + head) * headSize;
        const k = Math.floor((head * keyHeads) / heads) * headSize; // several heads may share their keys
        const own = query.subarray(q, q + headSize);
        const shares = attention(own, keys.subarray(k), width, cache.length + t + 1);
        shares.forEach((share, s) => {
          for (let n = 0; n < headSize; n++) mixed[q + n] += share * values[s * width + k + n];
        });
        if (watch && t === count - 1) watch.push({ layer: i, head, shares });
      }
    return linear(layer.out, mixed);
  }

  // SwiGLU: a gate decides how much of each number passes.
  feedForward(layer, x) {
    const gate = linear(layer.gate, x);
    const up = linear(layer.up, x);
    const passed = gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]);
    return linear(layer.down, passed);
  }
}

// --- probabilities and samples -------------------------------------------------------------------------------------

// log p of every token, in nats. In doubles: a sum of many should not lose its last digits.
function logSoftmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  const shift = most + Math.log(sum);
  return Float64Array.from(logits, (logit) => logit - shift);
}

const argmax = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

// A token of the distribution: the first at which the cumulated probability passes a uniform number.
function draw(logprobs, uniform) {
  let sum = 0;
  const found = logprobs.findIndex((logprob) => (sum += Math.exp(logprob)) > uniform);
  return found < 0 ? argmax(logprobs) : found; // rounding left the sum below the number
}

// Uniform numbers that are the same for the same seed (mulberry32).
function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}
