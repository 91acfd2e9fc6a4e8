import type { AwsMinter, AwsMinterOptions } from './aws/minter.ts';

/** Loads the AWS SDKs only where a Provider of that type exists: they cost 40 MB and half a second. */
export async function loadAwsMinter(options: AwsMinterOptions): Promise<AwsMinter> {
  const { createAwsMinter } = await import('./aws/minter.ts');
  return createAwsMinter(options);
}
