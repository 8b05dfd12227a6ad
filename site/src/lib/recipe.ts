/**
 * All that makes one picture, and its way to and from a URL.
 *
 * The names of the query's fields and their order are those of `GET /v1/characters.png`: the page's own address and
 * the picture's address carry the same words.
 */
export interface Recipe {
  /** Traits the picture must show, spaces not underscores. */
  tags: string[];
  /** Traits it must not show. */
  without: string[];
  /** 0 .. 2^32 - 1 */
  seed: number;
  /** Truncation psi, 0 .. 1.5, in steps of 0.01: how far from the average face. */
  psi: number;
  /** Pixels of one side, 32 .. 1024. */
  size: number;
  /** Bundle id; empty means the one the server ships. */
  model: string;
  /** Another seed, toward which the latent is turned ... */
  variationSeed: number;
  /** ... by this share of the way, 0 .. 1. */
  variation: number;
  /** How strongly the traits pull, 0 .. 2. */
  strength: number;
}

export const MAX_SEED = 2 ** 32 - 1;

export const DEFAULTS: Readonly<Omit<Recipe, 'tags' | 'without' | 'seed'>> = {
  psi: 0.7,
  size: 256,
  model: '',
  variationSeed: 0,
  variation: 0,
  strength: 1,
};

export function newRecipe(parts: Partial<Recipe> = {}): Recipe {
  return { ...DEFAULTS, tags: [], without: [], seed: randomSeed(), ...parts };
}

export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

const words = (tags: string[]): string =>
  tags.map((tag) => encodeURIComponent(tag.replaceAll(' ', '_'))).join(',');

/** A number as the server writes it: at most two decimals, no trailing zeros. */
const short = (value: number): string => String(Math.round(value * 100) / 100);

/** Recipe -> query in the API's fixed order; defaults are left out, the seed never. */
export function toQuery(recipe: Recipe): string {
  const parts: string[] = [];
  if (recipe.tags.length) parts.push(`tags=${words(recipe.tags)}`);
  if (recipe.without.length) parts.push(`not=${words(recipe.without)}`);
  parts.push(`seed=${recipe.seed}`);
  if (recipe.psi !== DEFAULTS.psi) parts.push(`psi=${short(recipe.psi)}`);
  if (recipe.size !== DEFAULTS.size) parts.push(`size=${recipe.size}`);
  if (recipe.model) parts.push(`model=${encodeURIComponent(recipe.model)}`);
  if (recipe.variation > 0) parts.push(`vs=${recipe.variationSeed}`, `variation=${short(recipe.variation)}`);
  if (recipe.strength !== DEFAULTS.strength) parts.push(`strength=${short(recipe.strength)}`);
  return parts.join('&');
}

/** Two recipes with the same key give the same picture; size does not make another character. */
export function keyOf(recipe: Recipe): string {
  return toQuery({ ...recipe, size: DEFAULTS.size });
}

function clamp(text: string | null, fallback: number, low: number, high: number, step: number): number {
  const value = text === null || text.trim() === '' ? NaN : Number(text);
  if (!Number.isFinite(value)) return fallback;
  const steps = Math.round(1 / step);
  return Math.round(Math.min(high, Math.max(low, value)) * steps) / steps;
}

function list(text: string | null): string[] {
  const found = (text ?? '').split(',').map((word) => word.replaceAll('_', ' ').trim());
  return [...new Set(found.filter(Boolean))];
}

/**
 * Query -> recipe, forgiving: out-of-range numbers are clamped, nonsense becomes the default, a missing seed a random
 * one. Words stay as written; the vocabulary judges them later.
 */
export function fromQuery(query: string): Recipe {
  const params = new URLSearchParams(query);
  return {
    tags: list(params.get('tags')),
    without: list(params.get('not')),
    seed: clamp(params.get('seed'), randomSeed(), 0, MAX_SEED, 1),
    psi: clamp(params.get('psi'), DEFAULTS.psi, 0, 1.5, 0.01),
    size: clamp(params.get('size'), DEFAULTS.size, 32, 1024, 1),
    model: params.get('model') ?? DEFAULTS.model,
    variationSeed: clamp(params.get('vs'), DEFAULTS.variationSeed, 0, MAX_SEED, 1),
    variation: clamp(params.get('variation'), DEFAULTS.variation, 0, 1, 0.01),
    strength: clamp(params.get('strength'), DEFAULTS.strength, 0, 2, 0.01),
  };
}

/** The JSON form used by the API and inside PNG files -> recipe. */
export function fromJson(json: Record<string, unknown>): Recipe {
  const strings = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);
  const number = (value: unknown, fallback: number): number => (typeof value === 'number' ? value : fallback);
  return {
    tags: strings(json.tags),
    without: strings(json.without ?? json.not),
    seed: number(json.seed, randomSeed()),
    psi: number(json.psi, DEFAULTS.psi),
    size: number(json.size, DEFAULTS.size),
    model: typeof json.model === 'string' ? json.model : DEFAULTS.model,
    variationSeed: number(json.variation_seed ?? json.vs, DEFAULTS.variationSeed),
    variation: number(json.variation, DEFAULTS.variation),
    strength: number(json.strength, DEFAULTS.strength),
  };
}
