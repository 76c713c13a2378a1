// Whether a page shows a curve.

/** How many points of the first canvas have the colour of its curve: axes alone are no curve. */
export const drawn = (page) => page.evaluate(() => {
  const canvas = document.querySelector("main canvas");
  if (!canvas?.width) return 0;
  const [copy, dot] = [canvas, { width: 1, height: 1 }].map(({ width, height }) => Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true }));
  dot.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
  dot.fillRect(0, 0, 1, 1);
  const accent = dot.getImageData(0, 0, 1, 1).data;
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let points = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] > 200 && [0, 1, 2].every((one) => Math.abs(data[at + one] - accent[one]) < 12)) points += 1;
  }
  return points;
});
