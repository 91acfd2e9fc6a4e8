export * from './access-table.ts';
export * from './compile.ts';
export * from './diff.ts';
export { parseSeconds } from './documents/common.ts';
export {
  type AnyDocument,
  type DocumentOf,
  isKind,
  type Kind,
  kinds,
  laterKinds,
} from './documents/kinds.ts';
export * from './json-schema.ts';
export * from './lint.ts';
export * from './parse.ts';
export { didYouMean } from './suggest.ts';
