/** The little of Markdown that model cards use, as data: shown without ever putting foreign HTML into the page. */
export type Block =
  | { kind: 'heading'; text: string }
  | { kind: 'text'; text: string }
  | { kind: 'list'; items: string[] }
  | { kind: 'table'; head: string[]; rows: string[][] };

/** Emphasis, code and links as their plain words. */
function plain(line: string): string {
  return line
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/(\*\*|__|`)(.+?)\1/g, '$2')
    .trim();
}

const cells = (line: string): string[] => line.replaceAll(/^\s*\||\|\s*$/g, '').split('|').map(plain);

function blockOf(lines: string[]): Block {
  const first = lines[0] ?? '';
  if (lines.length > 1 && first.includes('|') && /^[\s|:-]+$/.test(lines[1] ?? ''))
    return { kind: 'table', head: cells(first), rows: lines.slice(2).map(cells) };
  if (/^\s*[-*] /.test(first)) {
    // A line that starts no item goes on with the one before.
    const items = lines.join('\n').split(/\n?^\s*[-*] /m).slice(1);
    return { kind: 'list', items: items.map((item) => plain(item.replaceAll(/\s*\n\s*/g, ' '))) };
  }
  return { kind: 'text', text: plain(lines.join(' ')) };
}

/** Splits a card into headings, paragraphs, lists and tables. */
export function readCard(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: string[] = [];
  const close = (): void => {
    if (open.length) blocks.push(blockOf(open));
    open = [];
  };
  for (const line of markdown.split(/\r?\n/)) {
    const heading = /^#{1,6}\s+(.*)$/.exec(line);
    const listStarts = /^\s*[-*] /.test(line) && open.length > 0 && !/^\s*[-*] /.test(open[0]!);
    if (heading || listStarts || !line.trim()) close();
    if (heading) blocks.push({ kind: 'heading', text: plain(heading[1]!) });
    else if (line.trim()) open.push(line);
  }
  close();
  return blocks;
}
