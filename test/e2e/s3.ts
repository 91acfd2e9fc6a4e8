import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { World } from './world.ts';

/** What the stand-in S3 answers to an unmodified SDK with these credential_process keys: the HTTP status. */
export async function s3Status({ file }: World, credentialJson: string, key: string): Promise<number> {
  const keys = JSON.parse(credentialJson);
  const client = new S3Client({
    endpoint: file.aws,
    region: 'eu-west-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: {
      accessKeyId: keys.AccessKeyId,
      secretAccessKey: keys.SecretAccessKey,
      sessionToken: keys.SessionToken,
    },
  });
  const status = (metadata: unknown) => Number(Reflect.get(Object(metadata), 'httpStatusCode') ?? 0);
  return client.send(new GetObjectCommand({ Bucket: 'invoices', Key: key })).then(
    ({ $metadata }) => status($metadata),
    (error: unknown) => status(Reflect.get(Object(error), '$metadata')),
  );
}
