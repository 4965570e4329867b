// A QR code as an SVG, always dark on white, because that is what cameras read.
import qrcode from '../vendor/qrcode-generator/qrcode.mjs';
import { svg } from './dom.js';

export function qr(value, label) {
  const code = qrcode(0, 'M');
  code.addData(value);
  code.make();
  const modules = code.getModuleCount();
  let dark = '';
  for (let row = 0; row < modules; row += 1) {
    for (let column = 0; column < modules; column += 1) {
      if (code.isDark(row, column)) dark += `M${column + 4} ${row + 4}h1v1h-1z`;
    }
  }
  const side = modules + 8;
  return svg('svg.qr', { viewBox: `0 0 ${side} ${side}`, role: 'img', 'aria-label': label, 'shape-rendering': 'crispEdges' },
    svg('rect', { width: side, height: side, fill: '#fff' }), svg('path', { d: dark, fill: '#000' }));
}
