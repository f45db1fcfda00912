{
  // Sorting by a column: up, down, and back to the order of the report. Rows that stand back stay last.
  for (const table of document.querySelectorAll('table[data-sorted]')) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const sortBy = (place, way) => {
      const key = (row) => row.cells[place].dataset.v;
      const text = (row) => row.cells[place].textContent.trim();
      const order = (a, b) => key(a) !== undefined && key(b) !== undefined
        ? way * (key(a) - key(b)) : way * text(a).localeCompare(text(b), undefined, {numeric: true});
      const last = (row) => row.matches('.luthier-reference') ? 2 : text(row) === '' ? 1 : 0;
      body.append(...(way ? rows.toSorted((a, b) => last(a) - last(b) || order(a, b)) : rows));
    };
    heads.forEach((head, place) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const way = {none: 'ascending', ascending: 'descending', descending: 'none'}[head.ariaSort ?? 'none'];
        heads.forEach((one) => one.removeAttribute('aria-sort'));
        if (way !== 'none') head.setAttribute('aria-sort', way);
        sortBy(place, {none: 0, ascending: 1, descending: -1}[way]);
      });
    });
  }
  // Searching rows: all words must be in it; and what one spec got wrong. The first rows are shown until more are wanted.
  const FIRST = 12;
  for (const form of document.querySelectorAll('.luthier-search')) {
    const rows = [...form.nextElementSibling.children];
    const plain = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
    const texts = rows.map((row) => plain(row.textContent));
    const [words, wrong, said] = ['input', 'select', 'output'].map((name) => form.querySelector(name));
    let most = FIRST;
    const more = document.createElement('button');
    more.type = 'button';
    more.textContent = 'Show all';
    more.addEventListener('click', () => { most = rows.length; choose(); });
    form.append(more);
    const choose = () => {
      const wanted = plain(words.value).split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach((row, place) => {
        const found = wanted.every((word) => texts[place].includes(word))
          && (wrong.value === '' || row.dataset.wrong.split(' ').includes(wrong.value));
        count += found;
        row.hidden = !found || count > most;
      });
      said.value = `${count} of ${rows.length} rows${count > most ? `, the first ${most} shown` : ''}`;
      more.hidden = count <= most;
    };
    form.addEventListener('input', choose);
    form.hidden = false;
    choose();
  }
  // What scrolls sideways is a stop of the tab key and says so; what fits is neither.
  const fits = new ResizeObserver((entries) => {
    for (const {target} of entries) {
      const scrolls = target.scrollWidth > target.clientWidth + 1;
      if (scrolls) target.tabIndex = 0;
      else target.removeAttribute('tabindex');
      const hint = target.previousElementSibling;
      if (hint?.matches('.luthier-scrolls')) hint.hidden = !scrolls;
    }
  });
  for (const wide of document.querySelectorAll('.luthier-wide, .lu-scroll')) fits.observe(wide);
  document.documentElement.dataset.drawn = 'yes';
}
