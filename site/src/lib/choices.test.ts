import { describe, expect, it } from 'vitest';
import { choiceOf, choose, chooseOne, clear, hold, readWords, toWords } from './choices';
import { newRecipe } from './recipe';
import { around, moods } from './sheets';
import { type Group, type Tag, Vocabulary, distance } from './vocabulary';

let count = 0;
function tag(name: string, more: Partial<Tag> = {}): Tag {
  const plain = { names: { en: name }, learnt: true, obedience: null, why: '', aliases: [], implies: [], excludes: [] };
  return { name, index: count++, ...plain, ...more };
}
function group(id: string, exclusive: boolean, tags: Tag[]): Group {
  return { id, name: id, names: { en: id }, exclusive, tags };
}

const hair = group('hair-colour', true, [
  tag('pink hair', { names: { en: 'pink hair', ja: 'ピンク髪' }, excludes: ['blue hair'] }),
  tag('blue hair', { excludes: ['pink hair'] }),
]);
const mouth = group('mouth', false, [
  tag('smile'),
  tag('open mouth'),
  tag(':d', { implies: ['smile', 'open mouth'] }),
  tag('blush'),
  tag('fang', { learnt: false, why: 'too few' }),
]);
const style = group('style', false, [tag('twin tails', { aliases: ['twintails'] }), tag('hat')]);
const vocabulary = new Vocabulary([hair, mouth, style]);
const start = newRecipe({ seed: 1 });

describe('picks', () => {
  it('takes one of a group that allows one', () => {
    const pink = chooseOne(start, vocabulary, hair, 'pink hair');
    const blue = choose(pink, vocabulary, 'blue hair', 'yes');
    expect(blue.tags).toEqual(['blue hair']);
    expect(chooseOne(blue, vocabulary, hair, null).tags).toEqual([]);
  });

  it('never asks for a trait and refuses what it implies', () => {
    const refused = choose(start, vocabulary, 'smile', 'no');
    const asked = choose(refused, vocabulary, ':d', 'yes');
    expect([asked.tags, asked.without]).toEqual([[':d'], []]);
    expect(choose(asked, vocabulary, 'smile', 'no').tags).toEqual([]);
  });

  it('does not take what the model has not learnt', () => {
    expect(choose(start, vocabulary, 'fang', 'yes')).toEqual(start);
  });

  it('holds a group as it is seen, and clears it', () => {
    const held = hold(start, vocabulary, mouth, ['smile', 'hat']);
    expect([held.tags, held.without]).toEqual([['smile'], ['open mouth', ':d', 'blush']]);
    expect(hold(start, vocabulary, hair, ['blue hair']).without).toEqual([]);
    expect(clear(held, [mouth])).toEqual(start);
  });
});

describe('words', () => {
  it('reads Danbooru tags, other languages and refusals', () => {
    const line = '1girl, Twintails, ピンク髪、-hat, open_mouth, seed:77';
    const { recipe, unknown } = readWords(line, start, vocabulary);
    expect(recipe.tags).toEqual(['pink hair', 'open mouth', 'twin tails']);
    expect([recipe.without, recipe.seed, unknown]).toEqual([['hat'], 77, []]);
    expect(toWords(recipe)).toBe('pink hair, open mouth, twin tails, -hat');
    expect(readWords(toWords(recipe), recipe, vocabulary).recipe).toEqual(recipe);
  });

  it('tells what it does not know, and what is near', () => {
    const { recipe, unknown, unlearnt } = readWords('pnik hair, xyzzyx, fang', start, vocabulary);
    expect([recipe.tags, unknown, unlearnt]).toEqual([[], ['pnik hair', 'xyzzyx'], ['fang']]);
    expect(vocabulary.nearest('pnik hair')[0]).toBe('pink hair');
    expect(vocabulary.nearest('pink')[0]).toBe('pink hair');
    expect(vocabulary.nearest('xyzzyx')).toEqual([]);
    expect(distance('kitten', 'sitting')).toBe(3);
  });
});

describe('sheets', () => {
  it('puts the character between eight different neighbours', () => {
    const cells = around(start, 0.4);
    expect(cells[4]).toEqual(start);
    expect(new Set(cells.map((cell) => cell.variationSeed)).size).toBe(9);
    expect(around(start, 0.4, 1)[0]!.variationSeed).not.toBe(cells[0]!.variationSeed);
  });

  it('changes the mood and nothing else', () => {
    const cells = moods(start, vocabulary, ['pink hair', 'smile', 'fang']);
    expect(cells.every(({ recipe }) => choiceOf(recipe, 'pink hair') === 'yes' && recipe.seed === 1)).toBe(true);
    expect(cells[0]!.recipe.without).toContain('smile');
    expect(cells.some(({ tags }) => tags.includes('fang'))).toBe(false);
    expect(cells.find(({ tags }) => tags.includes(':d'))!.recipe.tags).toContain(':d');
  });
});
