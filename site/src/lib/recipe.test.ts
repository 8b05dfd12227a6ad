import { describe, expect, it } from 'vitest';
import { type Recipe, fromJson, fromQuery, keyOf, newRecipe, toQuery } from './recipe';

const full: Recipe = {
  tags: ['pink hair', 'blue eyes'],
  without: ['glasses', ':d'],
  seed: 4294967295,
  psi: 0.55,
  size: 512,
  model: 'sakura-0123abcd',
  variationSeed: 7,
  variation: 0.3,
  strength: 1.25,
};

describe('recipe and query', () => {
  it('writes the fields in the order of the API, tags with underscores', () => {
    expect(toQuery(full)).toBe(
      'tags=pink_hair,blue_eyes&not=glasses,%3Ad&seed=4294967295&psi=0.55&size=512&model=sakura-0123abcd&vs=7&variation=0.3&strength=1.25',
    );
  });

  it('comes back as it was', () => {
    expect(fromQuery(toQuery(full))).toEqual(full);
    const plain = newRecipe({ seed: 0 });
    expect(fromQuery(toQuery(plain))).toEqual(plain);
  });

  it('leaves defaults out, but never the seed', () => {
    expect(toQuery(newRecipe({ seed: 42 }))).toBe('seed=42');
    // Without a distance the other seed means nothing.
    expect(toQuery(newRecipe({ seed: 42, variationSeed: 9 }))).toBe('seed=42');
    expect(toQuery(newRecipe({ seed: 42, variation: 0.5 }))).toBe('seed=42&vs=0&variation=0.5');
  });

  it('forgives what people type into addresses', () => {
    const read = fromQuery('?tags=pink_hair,,pink%20hair&seed=-3&psi=9&size=huge&variation=0.123');
    expect(read.tags).toEqual(['pink hair']);
    expect([read.seed, read.psi, read.size, read.variation]).toEqual([0, 1.5, 256, 0.12]);
  });

  it('draws a seed when there is none', () => {
    const seed = fromQuery('tags=smile').seed;
    expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32).toBe(true);
  });

  it('does not count the size into who it is', () => {
    expect(keyOf(full)).toBe(keyOf({ ...full, size: 64 }));
    expect(keyOf(full)).not.toBe(keyOf({ ...full, seed: 1 }));
  });

  it('reads the JSON of PNG files', () => {
    const json = { kaogen: 1, tags: ['smile'], without: [], seed: 5, psi: 0.7, size: 256, model: 'm', variation_seed: 3, variation: 0.2, strength: 1 };
    expect(fromJson(json)).toEqual({ ...newRecipe({ seed: 5, model: 'm' }), tags: ['smile'], variationSeed: 3, variation: 0.2 });
    expect(fromJson({ seed: 'x', tags: 'y' }).tags).toEqual([]);
  });
});
