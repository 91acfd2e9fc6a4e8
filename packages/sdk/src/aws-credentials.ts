import { Unavailable } from './errors.ts';
import type { Secret } from './secret.ts';
import { unprintable } from './secret.ts';
import { asObject, asText, asTime, parseJson } from './wire.ts';

/** AwsCredentialIdentity of the AWS SDK v3. Its properties are readable, but it prints as `[secret]`. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiration: Date;
}

/** What `credentials` of every AWS SDK v3 client takes. */
export type AwsCredentialProvider = () => Promise<AwsCredentials>;

/** A new object each time: the AWS SDK writes into what it is given. Throws Unavailable `answer_unreadable`. */
export function parseAwsCredentials(credential: Secret<string>): AwsCredentials {
  const body = asObject(parseJson(credential.reveal()));
  const accessKeyId = asText(body['AccessKeyId']);
  const secretAccessKey = asText(body['SecretAccessKey']);
  const sessionToken = asText(body['SessionToken']);
  const expiration = asTime(body['Expiration']);
  if (!accessKeyId || !secretAccessKey || !sessionToken || !expiration)
    throw new Unavailable(
      { reason: 'answer_unreadable', says: 'the answer holds no AWS credentials.' },
      false,
    );
  return unprintable({ accessKeyId, secretAccessKey, sessionToken, expiration });
}
