import { HoldfastError } from '../errors.js';
import { runVirsh, unreachable, VirshFailure, type AskOptions, type Connection } from './virsh.js';

/**
 * Asks libvirt for the XML of a domain: of the running one, or as it would start.
 * @param domain.name its name, uuid or number
 * @throws HoldfastError NO_SUCH_DOMAIN, LIBVIRT_UNREACHABLE, ABORTED, XML_LIMIT
 */
export async function dumpDomain(
  domain: Connection & { readonly name: string },
  options: AskOptions = {},
): Promise<string> {
  const { name } = domain;
  if (name === '' || name.includes('\0')) {
    throw new HoldfastError('USAGE', 'the name of a domain is empty or has a zero byte');
  }
  try {
    return await runVirsh(domain, ['dumpxml', '--', name], options);
  } catch (error) {
    if (!(error instanceof VirshFailure)) throw error;
    if (!saysNoSuchDomain(error.words, name)) throw unreachable(error);
    throw new HoldfastError('NO_SUCH_DOMAIN', `libvirt knows no domain "${name}"`, {
      resource: name,
      cause: error,
    });
  }
}

/** Some of libvirt's drivers add why a look-up failed, some do not; any other reason is another failure. */
function saysNoSuchDomain(words: string, name: string): boolean {
  return words.includes('Domain not found') || words === `failed to get domain '${name}'`;
}
