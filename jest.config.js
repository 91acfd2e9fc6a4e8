const transform = {
  '^.+\\.ts$': [
    '@swc/jest',
    { jsc: { target: 'es2024', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
  ],
};
const common = {
  transform,
  extensionsToTreatAsEsm: ['.ts'],
  testEnvironment: 'node',
  modulePathIgnorePatterns: ['/dist/'],
};
/**
 * `unit`: beside the code, no process, no database. `system`: test/ and *.pg.test.ts, real servers on loopback. `ceph`:
 * test/ceph, against the Ceph that `npm run test:ceph` starts.
 */
export default {
  projects: [
    {
      ...common,
      displayName: 'unit',
      testMatch: ['<rootDir>/{apps,packages,scripts}/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '\\.pg\\.test\\.ts$'],
    },
    {
      ...common,
      displayName: 'system',
      testMatch: ['<rootDir>/test/**/*.test.ts', '<rootDir>/{apps,packages}/**/*.pg.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '/test/bench/', '/test/ceph/'],
    },
    {
      ...common,
      displayName: 'ceph',
      testMatch: ['<rootDir>/test/ceph/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/'],
    },
  ],
  testTimeout: 30_000,
};
