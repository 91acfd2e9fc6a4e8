import { Unavailable } from './errors.ts';
import type { Secret } from './secret.ts';
import { asObject, asText, parseJson } from './wire.ts';

/** Compared with @mayfly/protocol by its test, as everything in wire.ts. */
export const kubernetesType = 'urn:mayfly:token-type:kubernetes';

/** The bearer token of an ExecCredential (client.authentication.k8s.io/v1). Throws Unavailable `answer_unreadable`. */
export function parseKubernetesToken(credential: Secret<string>): string {
  const status = asObject(asObject(parseJson(credential.reveal()))['status']);
  const token = asText(status['token']);
  if (token === undefined)
    throw new Unavailable(
      { reason: 'answer_unreadable', says: 'the answer holds no token of Kubernetes.' },
      false,
    );
  return token;
}
