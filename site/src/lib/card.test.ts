import { expect, it } from 'vitest';
import { readCard } from './card';

it('reads headings, paragraphs, lists and tables', () => {
  const card = '# early\n\nTrained on **27,952** faces\nfor `90` minutes.\nUse:\n- drawing,\n  much\n- [play](x)\n\n| tag | F1 |\n|---|--:|\n| smile | 0.8 |\n';
  expect(readCard(card)).toEqual([
    { kind: 'heading', text: 'early' },
    { kind: 'text', text: 'Trained on 27,952 faces for 90 minutes. Use:' },
    { kind: 'list', items: ['drawing, much', 'play'] },
    { kind: 'table', head: ['tag', 'F1'], rows: [['smile', '0.8']] },
  ]);
});

it('takes anything as text', () => {
  expect(readCard('<script>alert(1)</script>')).toEqual([{ kind: 'text', text: '<script>alert(1)</script>' }]);
  expect(readCard('')).toEqual([]);
});
