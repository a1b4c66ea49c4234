/**
 * Draws icon.png (400x400) and banner.png (1260x540) from the SVGs beside them, in a browser:
 *
 *     node docs/images/make_icon.mjs CHROMIUM
 */

import { execFileSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [chromium = "chromium"] = process.argv.slice(2);

for (const [name, size] of [["icon", "400,400"], ["banner", "1260,540"]]) {
  const options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"];
  execFileSync(chromium, [
    ...options,
    `--window-size=${size}`,
    "--default-background-color=00000000",
    `--screenshot=${join(here, `${name}.png`)}`,
    `file://${join(here, `${name}.svg`)}`,
  ]);
}
