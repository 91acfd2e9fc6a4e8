import { expect, test } from '@jest/globals';
import { optionsOf } from './entra-tokens.ts';

test('the authority is that of the document or Microsoft’s own, whatever stands in the environment', () => {
  const before = process.env['AZURE_AUTHORITY_HOST'];
  process.env['AZURE_AUTHORITY_HOST'] = 'https://evil.example';
  try {
    const own = optionsOf({ endpoints: null });
    expect(own).toMatchObject({
      authorityHost: 'https://login.microsoftonline.com',
      disableInstanceDiscovery: false,
    });
    const named = optionsOf({ endpoints: { authority: 'https://127.0.0.1:4570' } });
    expect(named).toMatchObject({ authorityHost: 'https://127.0.0.1:4570', disableInstanceDiscovery: true });
  } finally {
    if (before === undefined) delete process.env['AZURE_AUTHORITY_HOST'];
    else process.env['AZURE_AUTHORITY_HOST'] = before;
  }
});
