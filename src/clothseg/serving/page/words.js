/** Numbers and names as people read them. */

/** @param {number} part 0 to 1 @returns {string} such as "23%", "4.1%" or "under 0.1%" */
export function percent(part) {
  if (part > 0 && part < 0.001) return "under 0.1%";
  return `${(100 * part).toFixed(part < 0.0995 && part > 0 ? 1 : 0)}%`;
}

/** @param {string} name @returns {string} with a capital */
export const capital = (name) => name.charAt(0).toUpperCase() + name.slice(1);

/** @param {number} number @param {string} noun @returns {string} such as "1 garment", "3 garments" */
export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** @param {number} bytes @returns {string} */
export const fileSize = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** @param {string} file @returns {string} without its ending, fit for a file's name */
export const stemOf = (file) => file.replace(/\.[^.]*$/, "").replace(/[\\/:*?"<>|]/g, "_") || "photo";
