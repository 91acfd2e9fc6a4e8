import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { createAttestor } from '@mayfly/attestors';
import { completeConfig } from '@mayfly/broker';
import { matchesSubject } from '@mayfly/core';
import { compileDocuments, parseDocuments } from '@mayfly/policy';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { attestorOptions } from '../../apps/broker/src/attesting.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string) => readFileSync(`${root}${file}`, 'utf8');
const config = completeConfig({ issuer: 'https://mayfly.example' });

/** The documents of an example, as they would decide. */
function compiled(cloud: string) {
  const { documents, errors } = parseDocuments([
    { file: cloud, text: read(`examples/issuers/${cloud}.yaml`) },
  ]);
  expect(errors).toEqual([]);
  const versioned = documents.map(({ document }) => ({ version: 1, document }));
  const { issuers, templates } = compileDocuments(versioned, { brokerIssuer: config.issuer });
  const [[issuer], [template]] = [[...issuers.values()], [...templates.values()]];
  if (issuer === undefined || template === undefined) throw new Error('an issuer and a template');
  return { issuer, template };
}

/** The token of the provider's documentation, signed with a key of ours. */
async function goldenOf(cloud: string, change: object = {}) {
  const golden = JSON.parse(read(`packages/attestors/src/oidc/golden-${cloud}.json`));
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const keys = [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'RS256', use: 'sig' }];
  const header = { ...golden.header, kid: 'k' };
  const token = await new SignJWT({ ...golden.payload, ...change })
    .setProtectedHeader(header)
    .sign(privateKey);
  return { token, keys, now: new Date(golden.now) };
}

async function attest(cloud: string, change?: object) {
  const { issuer, template } = compiled(cloud);
  const { token, keys, now } = await goldenOf(cloud, change);
  const options = { ...attestorOptions(config), readFile: async () => JSON.stringify({ keys }) };
  const attestor = createAttestor({ ...issuer, jwksUri: null, jwksFile: 'keys.json' }, options);
  const workload = await attestor.attest(token, { now, signal: new AbortController().signal });
  return template.workloads.some((one) => matchesSubject(one, workload));
}

test.each(['aws', 'azure', 'google'])(
  'the example of %s believes and matches the token of its documentation',
  async (cloud) => {
    expect(await attest(cloud)).toBe(true);
  },
);

test.each(['aws', 'azure', 'google'])('the example of %s believes no other subject', async (cloud) => {
  const stranger = attest(cloud, { sub: 'someone-else' });
  await expect(stranger).rejects.toMatchObject({ reason: 'assertion_invalid' });
});

test('the example of azure does not match another tenant', async () => {
  expect(await attest('azure', { tid: '00000000-0000-0000-0000-000000000000' })).toBe(false);
});
