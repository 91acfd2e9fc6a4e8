import { type Document, isMap, isNode, isPair, type LineCounter } from 'yaml';

export interface Position {
  readonly file: string;
  /** From 1, in characters of UTF-16, as editors count. */
  readonly line: number;
  readonly column: number;
}

export interface DocumentError extends Position {
  /** `spec.grants[0].resource`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

export type Path = readonly PropertyKey[];

/** A YAML document with the way from a path to its place in the file. */
export class Located {
  readonly document: Document.Parsed;
  readonly #file: string;
  readonly #lines: LineCounter;

  constructor(document: Document.Parsed, file: string, lines: LineCounter) {
    this.document = document;
    this.#file = file;
    this.#lines = lines;
  }

  at(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.#file, line: Math.max(1, line), column: Math.max(1, col) };
  }

  /** The value at the path, or its nearest parent that is there. */
  find(path: Path): Position {
    for (let length = path.length; length >= 0; length -= 1) {
      const node = this.#nodeAt(path.slice(0, length));
      if (isNode(node) && node.range) return this.at(node.range[0]);
    }
    return this.at(this.document.range?.[0] ?? 0);
  }

  /** The key itself, for one that should not be there. */
  findKey(path: Path, key: string): Position {
    const parent = this.#nodeAt(path);
    if (!isMap(parent)) return this.find(path);
    const pair = parent.items.find((item) => isPair(item) && String(item.key) === key);
    return isNode(pair?.key) && pair.key.range ? this.at(pair.key.range[0]) : this.find(path);
  }

  #nodeAt(path: Path): unknown {
    return path.length === 0 ? this.document.contents : this.document.getIn(path, true);
  }
}

/** `spec.grants[0].resource`; a key that is no plain word is quoted, so that a path reads one way only. */
export function formatPath(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      const key = String(part);
      if (!/^[A-Za-z0-9_-]+$/.test(key)) return `[${JSON.stringify(key)}]`;
      return index === 0 ? key : `.${key}`;
    })
    .join('');
}

/** Reading order: by file, then by place. */
export function byPosition(left: Position, right: Position): number {
  if (left.file !== right.file) return left.file < right.file ? -1 : 1;
  return left.line - right.line || left.column - right.column;
}
