export * from './access-table.ts';
export * from './authorize.ts';
export * from './canonical.ts';
export * from './compile.ts';
export * from './diff.ts';
export { parseSeconds } from './documents/common.ts';
export {
  type AnyDocument,
  type DocumentOf,
  isDocumentOf,
  isKind,
  type Kind,
  kinds,
  laterKinds,
} from './documents/kinds.ts';
export * from './json-schema.ts';
export { type Finding, formatFinding, type Level, lint } from './lint.ts';
export { lintTypeChanges } from './lint-provider.ts';
export { checkParams, compileParam, type ParamsChecked, patternProblem } from './params.ts';
export * from './parse.ts';
export { didYouMean } from './suggest.ts';
