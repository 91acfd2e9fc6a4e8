import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { createMetrics } from './metrics.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const runbook = readFileSync(`${root}docs/runbook.md`, 'utf8');
const alerts = readFileSync(`${root}docs/alerts.yaml`, 'utf8');

/** The kinds of `mayfly_alarms_total`, as they stand in the source. */
function alarmKinds(): string[] {
  const kinds = ['apps', 'packages'].flatMap((top) =>
    readdirSync(`${root}${top}`).flatMap((name) =>
      readdirSync(`${root}${top}/${name}/src`, { recursive: true, encoding: 'utf8' })
        .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.includes('generated'))
        .flatMap((file) => [
          ...readFileSync(`${root}${top}/${name}/src/${file}`, 'utf8').matchAll(/alarm: '([a-z_]+)'/g),
        ])
        .flatMap(([, kind = '']) => kind),
    ),
  );
  // Those two are the reasons of Faults that nobody expects.
  return [...new Set([...kinds, 'plan_check_failed', 'internal'])].sort();
}

const headings = [...runbook.matchAll(/^#{2,3} (.+)$/gm)].map(([, heading = '']) => heading);

test('every alarm has its place in the runbook, and the runbook knows no other', () => {
  const told = headings.flatMap((heading) => /^`([a-z_]+)`$/.exec(heading)?.[1] ?? []);
  expect(told.sort()).toEqual(alarmKinds());
});

test('every alert names a metric that exists and a place in the runbook that does', () => {
  const known = new Set(
    createMetrics([])
      .registry.getMetricsAsArray()
      .map(({ name }) => name),
  );
  const used = [...alerts.matchAll(/mayfly_[a-z_]+/g)].map(([name]) => name);
  expect(used.length).toBeGreaterThan(5);
  expect(used.filter((name) => !known.has(name))).toEqual([]);
  const anchors = headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^a-z0-9_ -]/g, '')
      .replaceAll(' ', '-'),
  );
  const named = [...alerts.matchAll(/docs\/runbook\.md#([a-z0-9_-]+)/g)].map(([, anchor = '']) => anchor);
  expect(named).toHaveLength([...alerts.matchAll(/- alert:/g)].length);
  expect(named.filter((anchor) => !anchors.includes(anchor))).toEqual([]);
});
