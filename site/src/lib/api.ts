/** The one file that talks to the server. Addresses are relative, so the page also works below a path. */
import { type Recipe, fromJson, toQuery } from './recipe';
import type { Group } from './vocabulary';

/** What the server says went wrong, as its problem+json tells it. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly field: string = '',
    readonly nearest: string[] = [],
    /** Seconds after which the server asks to be tried again; 0 when it does not. */
    readonly retryAfter: number = 0,
  ) {
    super(message);
  }
}

export interface Facts {
  recipe: Recipe;
  /** The recipe in words. */
  text: string;
  /** Every trait in the picture, also those that nobody asked for. */
  tags: string[];
  /** Nothing that the model has seen agrees with all picks. */
  rare: boolean;
  model: string;
  alt: string;
}

export interface ModelInfo {
  id: string;
  name: string;
  licence: string;
  /** Pixels of one side as the model draws it, before enlarging. */
  resolution: number;
  /** Markdown: on what, how long, how good. */
  card: string;
  trained: { data?: string };
}

async function problem(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const text = body.detail ?? body.title ?? response.statusText;
  const nearest = Array.isArray(body.nearest) ? body.nearest.map(String) : [];
  const wait = Number(response.headers.get('Retry-After') ?? 0);
  return new ApiError(String(text), response.status, String(body.field ?? ''), nearest, wait || 0);
}

async function ask(address: string, options: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError('offline', 0);
  }
  if (!response.ok) throw await problem(response);
  return response;
}

export type Format = 'png' | 'webp' | 'json';

/** The address at which this recipe's picture is found, for ever. */
export function addressOf(recipe: Recipe, format: Format): string {
  return `v1/characters.${format}?${toQuery(recipe)}`;
}

export async function fetchTags(): Promise<{ model: string; groups: Group[] }> {
  return (await (await ask('v1/tags')).json()) as { model: string; groups: Group[] };
}

export async function fetchModels(): Promise<ModelInfo[]> {
  const body = (await (await ask('v1/models')).json()) as { models: ModelInfo[] };
  return body.models;
}

/** The picture's bytes; a busy server is asked again, as it tells, at most three times. */
export async function fetchPicture(recipe: Recipe, signal: AbortSignal, format: Format = 'webp'): Promise<Blob> {
  for (let tries = 0; ; tries++) {
    try {
      return await (await ask(addressOf(recipe, format), { signal })).blob();
    } catch (error) {
      const busy = error instanceof ApiError && (error.status === 503 || error.status === 429);
      if (!busy || tries === 3) throw error;
      await pause(Math.min(5, error.retryAfter || 1) * 1000, signal);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new DOMException('aborted', 'AbortError'));
    });
  });
}

function factsOf(body: Record<string, unknown>): Facts {
  return {
    recipe: fromJson((body.recipe ?? {}) as Record<string, unknown>),
    text: String(body.text ?? ''),
    tags: Array.isArray(body.tags) ? body.tags.map(String) : [],
    rare: body.rare === true,
    model: String(body.model ?? ''),
    alt: String(body.alt ?? ''),
  };
}

export async function fetchFacts(recipe: Recipe, signal: AbortSignal): Promise<Facts> {
  const response = await ask(addressOf(recipe, 'json'), { signal });
  return factsOf((await response.json()) as Record<string, unknown>);
}

/** Reads the recipe inside a PNG that kaogen drew; ApiError when there is none. */
export async function readPng(file: Blob): Promise<Recipe> {
  const headers = { 'Content-Type': 'image/png' };
  const body = (await (await ask('v1/recipe', { method: 'POST', body: file, headers })).json()) as Record<string, unknown>;
  return fromJson(body.recipe as Record<string, unknown>);
}
