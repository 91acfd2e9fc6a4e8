import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import type { AwsCredentials } from '@mayfly/sdk';
import { type Live, runLive, startClaims, untilRefused } from './live.ts';

/** The shortest life of a credential at AWS, so that its end can be waited for. */
const shortSeconds = 30;
/** AWS's clock and ours; a credential that lives longer past its end is a finding. */
const lateSecondsMax = 30;

export interface LiveAws extends Live {
  /** Of a grant with access s3.object and action read. */
  readonly tool: string;
  /** `arn:aws:s3:::BUCKET/KEY` that exists, inside the grant. */
  readonly allowed: string;
  /** Another one of the same bucket that exists. */
  readonly neighbour: string;
  readonly region: string;
  /** '' for AWS itself. */
  readonly endpoint: string;
  readonly skipExpiry: boolean;
}

/**
 * What docs/clouds/aws.md claims of one session, tried at AWS through a running broker: for people with an account;
 * nothing runs it by itself, and it only reads. Two tasks are opened: one ends, the other must not feel it. True when
 * everything held.
 */
export async function tryAws(options: LiveAws): Promise<boolean> {
  const { mayfly, template, params, tool, allowed, neighbour, say } = options;
  const { claim, held } = startClaims(options);
  const opening = { template, params, objective: 'live test of docs/clouds/aws.md' };
  const read = (keys: AwsCredentials, arn = allowed) => getStatus(options, keys, arn);
  await mayfly.run(opening, async (other) => {
    const [short, sibling] = [
      await other.aws(tool, allowed, { ttl: shortSeconds })(),
      await other.aws(tool, allowed)(),
    ];
    claim('another task reads the object', await read(sibling), [200]);
    const keys = await mayfly.run(opening, async (task) => {
      const given = await task.aws(tool, allowed)();
      claim('the object', await read(given), [200]);
      claim('its neighbour', await read(given, neighbour), [403]);
      claim('another action, a listing', await listStatus(options, given), [403]);
      return given;
    });
    const ended = Date.now();
    const ends = keys.expiration.getTime();
    const last = await untilRefused(() => read(keys), ends);
    const now = Date.now();
    const after = `${((now - ended) / 1000).toFixed(1)} s after the end of its task`;
    // Keys that are dead anyway show nothing.
    claim(`${after}, with ${((ends - now) / 1000).toFixed(0)} s left`, now < ends ? last : 200, [403]);
    claim('the other task’s session, not ended', await read(sibling), [200]);
    if (options.skipExpiry) return say('skipped the expiry of a session: --skip-expiry');
    const shortEnds = short.expiration.getTime();
    const status = await untilRefused(() => read(short), shortEnds + lateSecondsMax * 1000);
    claim(`${((Date.now() - shortEnds) / 1000).toFixed(1)} s after its own end`, status, [400, 403]);
  });
  return held();
}

function clientOf({ region, endpoint }: LiveAws, credentials: AwsCredentials): S3Client {
  return new S3Client({
    ...{ region, credentials, maxAttempts: 1 },
    ...(endpoint === '' ? {} : { endpoint, forcePathStyle: true }),
  });
}

function getStatus(options: LiveAws, keys: AwsCredentials, arn: string): Promise<number> {
  const [, Bucket = '', Key = ''] = /^arn:[a-z-]+:s3:::([^/]+)\/(.+)$/.exec(arn) ?? [];
  return httpStatus(clientOf(options, keys).send(new GetObjectCommand({ Bucket, Key })));
}

function listStatus(options: LiveAws, keys: AwsCredentials): Promise<number> {
  const [, Bucket = ''] = /:::([^/]+)\//.exec(options.allowed) ?? [];
  return httpStatus(clientOf(options, keys).send(new ListObjectsV2Command({ Bucket, MaxKeys: 1 })));
}

/** 0 where nothing was answered. */
async function httpStatus(sent: Promise<unknown>): Promise<number> {
  const answer: unknown = await sent.catch((error: unknown) => error);
  return Number(Reflect.get(Object(Reflect.get(Object(answer), '$metadata')), 'httpStatusCode') ?? 0);
}

if (import.meta.main)
  await runLive({
    usage: `npm run -s live -- aws --template NAME [--param name=value]... --tool TOOL
  --allowed arn:aws:s3:::BUCKET/KEY    inside a grant with access s3.object and action read, and there
  --neighbour arn:aws:s3:::BUCKET/KEY  another object of the same bucket, and there
  --region REGION [--endpoint URL]     of S3; without --endpoint that of AWS
  [--skip-expiry]                      do not wait for the end of a session of ${shortSeconds} s`,
    flags: {
      ...{ tool: null, allowed: null, neighbour: null, region: null },
      ...{ endpoint: '', 'skip-expiry': false },
    },
    run: (live, flag) =>
      tryAws({
        ...live,
        ...{ tool: flag('tool'), allowed: flag('allowed'), neighbour: flag('neighbour') },
        ...{ region: flag('region'), endpoint: flag('endpoint'), skipExpiry: flag('skip-expiry') !== '' },
      }),
  });
