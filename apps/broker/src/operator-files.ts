import { Fault } from '@mayfly/core';
import type { OperatorFiles } from '@mayfly/minters';
import { readRegularFile } from './attesting.ts';
import type { Config } from './config.ts';
import { splitTokenFile } from './settings.ts';

/** A key or a chain of certificates; anything longer is another file. */
const bytesMax = 65_536;

/** What Providers may use of this disk: documents come over the API, files are the operator's. */
export function createOperatorFiles(
  { allowTokenFiles, providerKeys }: Pick<Config, 'allowTokenFiles' | 'providerKeys'>,
  env: Readonly<Record<string, string | undefined>>,
): OperatorFiles {
  const allowed = allowTokenFiles.flatMap((entry) => splitTokenFile(entry) ?? []);
  return {
    authority: (file) => read(file),
    token: async (file, origin) => {
      if (!allowed.some((one) => one.file === file && one.origin === origin))
        throw unreadable('tokenFile is not allowed for this origin');
      const bearer = (await read(file)).trim();
      // RFC 6750 section 2.1; whatever else stands in the file is no token, and stays here.
      if (!/^[A-Za-z0-9._~+/-]+=*$/.test(bearer)) throw unreadable('tokenFile holds no token');
      return bearer;
    },
    privateKey: async (provider) => {
      const reference = Object.hasOwn(providerKeys, provider) ? providerKeys[provider] : undefined;
      if (reference === undefined) throw unreadable(`no private key for provider ${provider}`);
      return 'file' in reference ? read(reference.file) : (env[reference.env] ?? '');
    },
  };
}

async function read(file: string): Promise<string> {
  try {
    return await readRegularFile(file, bytesMax);
  } catch {
    throw unreadable(`${file} cannot be read`);
  }
}

function unreadable(detail: string): Fault {
  return new Fault('provider_unavailable', { effect: 'none', detail });
}
