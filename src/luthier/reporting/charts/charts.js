{
  const told = JSON.parse(document.getElementById('lu-told')?.textContent || '[]');
  const make = (name, attributes) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const tip = document.createElement('div');
  tip.className = 'lu-tip';
  tip.hidden = true;
  const spoken = document.createElement('div');
  spoken.className = 'lu-spoken';
  spoken.setAttribute('aria-live', 'polite');
  document.querySelector('.luthier-board').append(tip, spoken);
  const hide = () => { tip.hidden = true; };
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const left = Math.min(Math.max(8, x + 14), document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${(y + 18 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 12 : y + 18) + scrollY}px`;
  };
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
  addEventListener('scroll', hide, {passive: true, capture: true});

  // Points of a plot: across as a share of its width, down in pixels, and the number of what is said of them.
  const pointsOf = (plot) => {
    const found = [];
    for (const one of plot.querySelectorAll('[data-told]')) {
      const said = one.dataset.told;
      if (one.matches('.lu-many')) {
        const numbers = said.split(',');
        const height = plot.height.baseVal.value;
        [...one.getAttribute('d').matchAll(/M([-\d.]+),([-\d.]+)h0/g)].forEach(([, x, y], place) => {
          found.push([x / 1000, Number(y), numbers[place]]);
        });
      } else if (one.localName === 'rect') {
        const middle = parseFloat(one.getAttribute('x')) + parseFloat(one.getAttribute('width')) / 2;
        found.push([middle / 100, parseFloat(one.getAttribute('y')), said, one]);
      } else if (one.localName !== 'path') {
        const [x, y] = one.localName === 'circle' ? ['cx', 'cy'] : ['x', 'y'];
        found.push([parseFloat(one.getAttribute(x)) / 100, parseFloat(one.getAttribute(y)), said]);
      }
    }
    return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  };
  for (const plot of document.querySelectorAll('.lu-chart:not(.lu-parallel) .lu-plot')) {
    if (!plot.querySelector('[data-told]')) continue;
    let points = null;
    let at = -1;
    const ring = make('circle', {class: 'lu-ring', r: 8, visibility: 'hidden'});
    plot.append(ring);
    const point = (place, aloud) => {
      at = place;
      const [x, y, said] = points[place];
      const box = plot.getBoundingClientRect();
      ring.setAttribute('cx', `${100 * x}%`);
      ring.setAttribute('cy', y);
      ring.setAttribute('visibility', 'visible');
      show(told[said], box.left + x * box.width, box.top + y);
      if (aloud) spoken.textContent = told[said];
    };
    const leave = () => {
      hide();
      ring.setAttribute('visibility', 'hidden');
    };
    const move = (event) => {
      points ??= pointsOf(plot);
      const bar = event.target.closest?.('rect[data-told]');
      if (bar) {
        ring.setAttribute('visibility', 'hidden');
        show(told[bar.dataset.told], event.clientX, event.clientY);
        return;
      }
      const box = plot.getBoundingClientRect();
      let best = -1;
      let least = 24 ** 2;
      points.forEach(([x, y, , isBar], place) => {
        const far = (box.left + x * box.width - event.clientX) ** 2 + (box.top + y - event.clientY) ** 2;
        if (!isBar && far < least) [best, least] = [place, far];
      });
      if (best < 0) leave();
      else point(best, false);
    };
    plot.addEventListener('pointermove', move);
    plot.addEventListener('pointerdown', move);
    // A finger that is lifted leaves as well; what it found stays until another place is touched.
    plot.addEventListener('pointerleave', (event) => { if (event.pointerType !== 'touch') leave(); });
    document.addEventListener('pointerdown', (event) => { if (!plot.contains(event.target)) leave(); });
    plot.addEventListener('blur', leave);
    plot.tabIndex = 0;
    plot.addEventListener('keydown', (event) => {
      const step = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1}[event.key];
      points ??= pointsOf(plot);
      const last = points.length - 1;
      if (event.key === 'Home' || event.key === 'End') point(event.key === 'Home' ? 0 : last, true);
      else if (step) point(Math.min(Math.max(at < 0 ? (step > 0 ? 0 : last) : at + step, 0), last), true);
      else return;
      event.preventDefault();
    });
  }

  // Parallel coordinates: a range chosen on an axis leaves the lines that pass there.
  for (const chart of document.querySelectorAll('.lu-parallel')) {
    const plot = chart.querySelector('.lu-plot');
    const lines = [...chart.querySelectorAll('.lu-path')];
    const places = lines.map((line) => line.dataset.at.split(',').map((one) => (one === '' ? NaN : Number(one))));
    const axes = [...plot.querySelectorAll(':scope > .lu-axis')];
    const names = [...chart.querySelectorAll('.lu-heads span')].map((one) => one.textContent.trim());
    const count = chart.querySelector('.lu-count');
    const whole = count.textContent;
    const height = plot.height.baseVal.value;
    const ranges = axes.map(() => null);
    const room = 0.03;
    const choose = () => {
      let kept = 0;
      lines.forEach((line, place) => {
        const on = ranges.every((range, axis) => !range
          || (places[place][axis] >= range[0] - room && places[place][axis] <= range[1] + room));
        line.classList.toggle('lu-off', !on);
        kept += on;
      });
      const chosen = ranges.some(Boolean);
      chart.classList.toggle('lu-chosen', chosen);
      count.textContent = chosen ? `${kept} of ${lines.length} ${chart.dataset.what}. Escape or a click on an axis shows all again.` : whole;
    };
    axes.forEach((axis, number) => {
      const x = axis.getAttribute('x1');
      const mark = make('rect', {class: 'lu-brush', x, width: 16, transform: 'translate(-8,0)', visibility: 'hidden'});
      const hold = make('rect', {
        class: 'lu-hold', x, width: 36, height, transform: 'translate(-18,0)', tabindex: 0, role: 'slider',
        'aria-orientation': 'vertical', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': 50,
        'aria-label': `range of ${names[number]}`, 'aria-valuetext': 'all',
      });
      const set = (range) => {
        ranges[number] = range;
        mark.setAttribute('visibility', range ? 'visible' : 'hidden');
        if (range) {
          mark.setAttribute('y', height * (1 - range[1]));
          mark.setAttribute('height', Math.max(3, height * (range[1] - range[0])));
        }
        const [low, high] = range ? range.map((one) => Math.round(100 * one)) : [0, 100];
        hold.setAttribute('aria-valuenow', Math.round((low + high) / 2));
        hold.setAttribute('aria-valuetext', range ? `${low}% to ${high}% of the axis` : 'all');
        choose();
      };
      const up = (event) => {
        const box = plot.getBoundingClientRect();
        return Math.min(Math.max(1 - (event.clientY - box.top) / box.height, 0), 1);
      };
      let from = null;
      hold.addEventListener('pointerdown', (event) => {
        from = up(event);
        hold.setPointerCapture(event.pointerId);
      });
      hold.addEventListener('pointermove', (event) => {
        if (from !== null) set([Math.min(from, up(event)), Math.max(from, up(event))]);
      });
      hold.addEventListener('pointerup', (event) => {
        if (from !== null && Math.abs(up(event) - from) < 0.01) set(null);
        from = null;
      });
      hold.addEventListener('pointercancel', () => { from = null; });
      hold.addEventListener('keydown', (event) => {
        const step = {ArrowUp: 0.05, ArrowDown: -0.05}[event.key];
        if (event.key === 'Escape') set(null);
        else if (step) {
          const [low, high] = ranges[number] ?? (step > 0 ? [0.75, 0.95] : [0.05, 0.25]);
          const moved = Math.min(Math.max(step, event.shiftKey ? -1 : -low), 1 - high);
          set(event.shiftKey ? [low, Math.max(low + 0.02, high + moved)] : [low + moved, high + moved]);
        } else return;
        event.preventDefault();
      });
      plot.append(mark, hold);
    });
    plot.setAttribute('role', 'group');
    plot.addEventListener('pointermove', (event) => {
      const line = event.target.closest?.('.lu-path');
      if (line && told[line.dataset.told]) show(told[line.dataset.told], event.clientX, event.clientY);
      else hide();
    });
    plot.addEventListener('pointerleave', (event) => { if (event.pointerType !== 'touch') hide(); });
  }
}
