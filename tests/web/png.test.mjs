// Pictures of the page that are made smaller stay the same to the eye.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "../../tools/chromium.mjs";
import { smaller } from "../../tools/png.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** RGBA of a PNG, as the browser reads it. */
const pixels = (page, png) => page.evaluate(async (base64) => {
  const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  canvas.drawImage(bitmap, 0, 0);
  return [...canvas.getImageData(0, 0, bitmap.width, bitmap.height).data];
}, png.toString("base64"));

for (const omitBackground of [false, true]) {
  test(`a picture of text and a gradient, with${omitBackground ? "" : "out"} an alpha channel, changes by two in 255 at most`, async () => {
    const page = await browser.newPage({ viewport: { width: 151, height: 97 } });
    await page.setContent("<style>body { margin: 5px; background: linear-gradient(31deg, #fa0a, #06cc 70%, #fff) }</style><b>A parakeet on a branch</b> talks in seven voices.");
    const png = await page.screenshot({ omitBackground });
    const [before, after] = [await pixels(page, png), await pixels(page, smaller(png))];
    assert.equal(before.length, 4 * 151 * 97);
    assert.equal(after.length, before.length);
    const opaque = before.map((_, i) => before[i - (i % 4) + 3] === 255); // colours under alpha are rounded once more
    const most = Math.max(...before.map((value, i) => (opaque[i] ? Math.abs(value - after[i]) : 0)));
    assert.ok(most > 0 && most <= 2, `${most}`);
    assert.ok(new Set(before).size > 50);
    await page.close();
  });
}

test("a picture of another kind is refused", async () => {
  const page = await browser.newPage({ viewport: { width: 8, height: 8 } });
  const png = Buffer.from(await page.screenshot());
  png[24] = 16;
  assert.throws(() => smaller(png), { message: "PNG of depth 16, colour type 2, expected 8 and 2 or 6" });
  await page.close();
});
