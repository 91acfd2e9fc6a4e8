import type { Case, Unseen } from './case.ts';
import type { Result } from './run.ts';

/** A line a case, what failed beneath it, and a summary. */
export function textReport(results: readonly Result[]): string {
  const lines = results.map(({ outcome, id, must, rule, source, says }) => {
    const line = `${outcome.padEnd(7)} ${id.padEnd(6)} ${rule} (${must}, ${source})`;
    return says === undefined ? line : `${line}\n               ${says}`;
  });
  return `${lines.join('\n')}\n\n${summary(results)}\n`;
}

export function summary(results: readonly Result[]): string {
  const count = (outcome: Result['outcome']) => results.filter((one) => one.outcome === outcome).length;
  return `${results.length} cases: ${count('ok')} ok, ${count('FAILED')} FAILED, ${count('skipped')} skipped`;
}

export function list(cases: readonly Case[], unseen: readonly Unseen[]): string {
  const seen = cases.map(
    ({ id, must, rule, source, needs = [] }) =>
      `${id.padEnd(6)} ${rule} (${must}, ${source})${needs.length === 0 ? '' : ` needs ${needs.join(', ')}`}`,
  );
  const hidden = unseen.map(({ id, why }) => `${id.padEnd(6)} ${why}`);
  return [...seen, '', 'Not seen from outside, or not built:', ...hidden, ''].join('\n');
}

/** JUnit's XML as CI servers read it. */
export function junit(results: readonly Result[]): string {
  const failures = results.filter(({ outcome }) => outcome === 'FAILED').length;
  const skipped = results.filter(({ outcome }) => outcome === 'skipped').length;
  const cases = results.map(({ id, rule, outcome, says = '', seconds }) => {
    const open = `  <testcase classname="${id.slice(0, 1)}" name="${escaped(`${id} ${rule}`)}" time="${seconds}"`;
    if (outcome === 'ok') return `${open}/>`;
    const inner = outcome === 'skipped' ? 'skipped' : 'failure';
    return `${open}><${inner} message="${escaped(says)}"/></testcase>`;
  });
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuite name="conformance" tests="${results.length}" failures="${failures}" skipped="${skipped}">`,
    ...cases,
    '</testsuite>',
    '',
  ].join('\n');
}

function escaped(text: string): string {
  const named: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  // Control characters cannot stand in XML 1.0, not even escaped.
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, '').replace(/[&<>"]/g, (one) => named[one] ?? one);
}
