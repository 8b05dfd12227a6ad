// kaogen.studio.latents in JavaScript: the same bits. `node latents.mjs DIM STREAM LANE SEED...`
// prints one line of float32 bit patterns (hex) per seed.

const KEY = 0x6b616f67;

/** 32 x 32 -> [high, low] words, from 16-bit halves (JavaScript has no 64-bit product). */
function multiply(a, b) {
  const low = Math.imul(a, b) >>> 0;
  const [al, ah, bl, bh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = ah * bl + ((al * bl) >>> 16);
  const carry = (middle % 65536) + al * bh;
  return [(ah * bh + Math.floor(middle / 65536) + Math.floor(carry / 65536)) >>> 0, low];
}

/** Philox-4x32-10: four words. */
export function philox(counter, key) {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [h0, l0] = multiply(0xd2511f53, c0);
    const [h1, l1] = multiply(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1, (h0 ^ c3 ^ k1) >>> 0, l0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

export function words(seed, stream, count, lane = 0) {
  const out = [];
  for (let block = 0; out.length < count; block++) {
    out.push(...philox([block, lane, stream, 0], [seed, KEY]));
  }
  return out.slice(0, count);
}

const CENTRAL = [
  [3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
    45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727],
  [1.0, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077,
    21213.794301586595867, 39307.89580009271061, 28729.085735721942674, 5226.495278852854561],
];
const TAIL = [
  [1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
    1.27045825245236838258, 2.4178072517745061177e-1, 2.27238449892691845833e-2,
    7.7454501427834140764e-4],
  [1.0, 2.05319162663775882187, 1.6763848301838038494, 6.8976733498510000455e-1,
    1.4810397642748007459e-1, 1.51986665636164571966e-2, 5.475938084995344946e-4,
    1.05075007164441684324e-9],
];
const FAR_TAIL = [
  [6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358, 2.9656057182850489123e-1,
    2.6532189526576123093e-2, 1.2426609473880784386e-3, 2.71155556874348757815e-5,
    2.01033439929228813265e-7],
  [1.0, 5.9983220655588793769e-1, 1.3692988092273580531e-1, 1.48753612908506148525e-2,
    7.868691311456132591e-4, 1.8463183175100546818e-5, 1.4215117583164458887e-7,
    2.04426310338993978564e-15],
];
const ATANH = Array.from({ length: 11 }, (_, k) => 1 / (2 * k + 1));

function poly(coefficients, x) {
  let total = coefficients[coefficients.length - 1];
  for (let i = coefficients.length - 2; i >= 0; i--) total = total * x + coefficients[i];
  return total;
}

/** x = m * 2^e, m in [1/2, 1): exact, from the bits. */
function frexp(x) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  const high = view.getUint32(0);
  const e = ((high >>> 20) & 0x7ff) - 1022;
  view.setUint32(0, ((high & 0x800fffff) | (1022 << 20)) >>> 0);
  return [view.getFloat64(0), e];
}

function log(x) {
  let [m, e] = frexp(x);
  if (m < 0.7071067811865476) {
    m *= 2;
    e -= 1;
  }
  const s = (m - 1) / (m + 1);
  return e * 0.6931471805599453 + 2 * s * poly(ATANH, s * s);
}

/** Inverse of the normal distribution function (AS 241). */
export function normal(p) {
  const q = p - 0.5;
  const near = 0.180625 - q * q;
  if (near >= 0) return q * (poly(CENTRAL[0], near) / poly(CENTRAL[1], near));
  const r = Math.sqrt(-log(q < 0 ? p : 1 - p));
  const [table, x] = r <= 5 ? [TAIL, r - 1.6] : [FAR_TAIL, r - 5];
  const value = poly(table[0], x) / poly(table[1], x);
  return q < 0 ? -value : value;
}

/** The latent of a seed: Float32Array(dim). */
export function z(seed, dim, stream = 0, lane = 0) {
  const w = words(seed, stream, 2 * dim, lane);
  return Float32Array.from({ length: dim }, (_, i) =>
    normal(((w[2 * i] >>> 6) * 67108864 + (w[2 * i + 1] >>> 6) + 0.5) * 2 ** -52));
}

if (process.argv[1]?.endsWith("latents.mjs")) {
  const [dim, stream, lane, ...seeds] = process.argv.slice(2).map(Number);
  for (const seed of seeds) {
    const bits = new Uint32Array(z(seed, dim, stream, lane).buffer);
    console.log([...bits].map((b) => b.toString(16).padStart(8, "0")).join(" "));
  }
}
