import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { startWorkloadApi, type WorkloadApi } from './workload-api.ts';

const trustDomain = 'spiffe://prod.example';
let agent: WorkloadApi;
let client: Client;
beforeAll(async () => {
  agent = await startWorkloadApi({ trustDomain, listen: '127.0.0.1:0', callerPath: '/agent' });
  client = new Client(agent.address.replace('tcp://', ''), credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await agent.close();
});

const guarded = () => {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
};
/** Bytes as they are: the messages are looked at from outside of the stand-in's own descriptor. */
const raw = (bytes: Buffer) => bytes;
const fetchSvid = (request: Buffer, metadata: Metadata) =>
  new Promise<Buffer>((resolve, reject) => {
    client.makeUnaryRequest(
      '/SpiffeWorkloadAPI/FetchJWTSVID',
      raw,
      raw,
      request,
      metadata,
      (error, answer) => (error === null && answer !== undefined ? resolve(answer) : reject(error)),
    );
  });
/** Field 1, `audience`. */
const audience = Buffer.from('\n\u0003aud', 'latin1');

test('a call without the security header is refused', async () => {
  await expect(fetchSvid(audience, new Metadata())).rejects.toMatchObject({ code: 3 });
});

test('a JWT-SVID is that of the caller, for the audience it asked for', async () => {
  const [token = ''] =
    /ey[\w-]+\.[\w-]+\.[\w-]+/.exec((await fetchSvid(audience, guarded())).toString()) ?? [];
  expect(decodeJwt(token)).toMatchObject({ sub: `${trustDomain}/agent`, aud: ['aud'] });
});

test('without an audience there is none', async () => {
  await expect(fetchSvid(Buffer.alloc(0), guarded())).rejects.toMatchObject({ code: 3 });
});

test('a rotation publishes old and new authorities, until the old ones are withdrawn', async () => {
  const kids = () => JSON.stringify(agent.bundle()).match(/"kid":"[0-9a-f]+"/g) ?? [];
  const [first] = kids();
  await agent.rotate();
  expect(kids()).toHaveLength(2);
  expect(kids()).toContain(first);
  await agent.rotate({ forget: true });
  expect(kids()).toHaveLength(1);
  expect(kids()).not.toContain(first);
});
