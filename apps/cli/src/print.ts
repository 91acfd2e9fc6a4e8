import { stringify } from 'yaml';
import { fail } from './exit.ts';

export const formats = ['table', 'json', 'yaml', 'name'] as const;
export type Format = (typeof formats)[number];

export type Row = Readonly<Record<string, unknown>>;

export function parseFormat(text: string): Format {
  const found = formats.find((one) => one === text);
  return found ?? fail(2, `-o ${text}: one of ${formats.join(', ')}`);
}

/** Rows on standard output; `columns` are those of the table, JSON and YAML hold everything. */
export function printRows(
  rows: readonly Row[],
  options: { format: Format; columns: readonly string[] },
): void {
  console.log(renderRows(rows, options));
}

/** One thing: as its keys in a table. */
export function printOne(value: Row, format: Format): void {
  console.log(renderOne(value, format));
}

function renderRows(
  rows: readonly Row[],
  { format, columns }: { format: Format; columns: readonly string[] },
): string {
  if (format === 'json') return JSON.stringify(rows, null, 2);
  if (format === 'yaml') return stringify(rows).trimEnd();
  if (format === 'name') return rows.map((row) => cell(row['id'] ?? row['name'])).join('\n');
  const body = rows.map((row) => columns.map((one) => cell(row[one])));
  const lines = [columns.map((one) => one.toUpperCase()), ...body];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((text, index) => text.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function renderOne(value: Row, format: Format): string {
  if (format === 'json') return JSON.stringify(value, null, 2);
  if (format === 'yaml') return stringify(value).trimEnd();
  if (format === 'name') return cell(value['id'] ?? value['name']);
  const width = Math.max(...Object.keys(value).map((key) => key.length));
  return Object.entries(value)
    .map(([key, one]) => `${key.padEnd(width)}  ${cell(one)}`)
    .join('\n');
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '-';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
