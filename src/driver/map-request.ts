/** What a driver makes of a request: in which mode it really locks it, or why it cannot. */
import type { LockRequest } from '../vocabulary.js';
import type { Driver, DriverAbout, MappedRequest } from './contract.js';

/**
 * A driver without `mapRequest` takes the modes of `about.modes` as they are, and `exclusive` for the others,
 * which is stricter than any.
 */
export function mapRequest(about: DriverAbout, driver: Driver, request: LockRequest): MappedRequest {
  const { mode, resource } = request;
  if (driver.mapRequest !== undefined) return driver.mapRequest(request);
  if (about.modes.includes(mode)) return { can: true, mode };
  if (about.modes.includes('exclusive')) {
    const note = `driver ${about.name} knows no mode '${mode}', so it is locked exclusively`;
    return { can: true, mode: 'exclusive', note };
  }
  return { can: false, reason: `it knows no mode for ${resource.label} (${mode})` };
}
