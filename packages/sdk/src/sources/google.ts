import { ask } from './ask.ts';
import { type Environment, notSet, type Source, sourceFailed } from './source.ts';

export interface GooglePlaces {
  /** Where the firmware of a machine says whose it is. */
  readonly productNameFile?: string | undefined;
}

const metadataHost = 'metadata.google.internal';
const productName = '/sys/class/dmi/id/product_name';

/**
 * The identity token of a machine's service account. Only where Google is clearly the host: elsewhere the name of the
 * metadata server could lead to anybody.
 */
export function ofGoogle(
  env: Environment,
  audience: string,
  { productNameFile = productName }: GooglePlaces,
): Source {
  const name = 'Google instance identity';
  const variable = 'GCE_METADATA_HOST';
  return {
    name,
    kind: 'jwt',
    absent: async () => {
      if (notSet(env[variable]) === undefined) return undefined;
      const { readFile } = await import('node:fs/promises');
      const product = await readFile(productNameFile, 'utf8').catch(() => '');
      return product.startsWith('Google') ? undefined : `${variable} not set, and no machine of Google's`;
    },
    read: async () => {
      const host = notSet(env[variable]) === undefined ? env[variable] : metadataHost;
      const path = '/computeMetadata/v1/instance/service-accounts/default/identity';
      if (!URL.canParse(`http://${host}${path}`)) throw sourceFailed(name, `${variable} is no host`);
      const url = new URL(`http://${host}${path}`);
      url.searchParams.set('audience', audience);
      url.searchParams.set('format', 'full');
      const answer = await ask(url, { source: name, headers: { 'metadata-flavor': 'Google' } });
      // The metadata server says so itself; a proxy or a captive portal in its place does not.
      if (answer.headers.get('metadata-flavor') !== 'Google')
        throw sourceFailed(name, 'the answer is not that of a metadata server');
      return answer.text;
    },
  };
}
