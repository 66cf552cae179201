'use strict';
// Draws the charts of a report. Every text of a user's reaches the page as text: names stand in no chart.
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const data = JSON.parse($('data').textContent).charts;
  const color = (name, alpha) =>
    alpha === undefined ? getComputedStyle(root).getPropertyValue('--' + name).trim()
      : `rgba(${getComputedStyle(root).getPropertyValue('--' + name + '-rgb')}, ${alpha})`;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const setTheme = (name) => {
    root.dataset.theme = name;
    $('theme').textContent = name === 'dark' ? 'Light' : 'Dark';
  };

  // --- time: places on an even axis, so that nights and week-ends take no room ---
  const two = (number) => String(number).padStart(2, '0');
  const words = (minutes, part) => {
    const at = new Date(minutes * 60000);
    const day = `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
    const time = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
    return part === 'day' ? day : part === 'both' ? `${day.slice(5)} ${time}` : `${day} ${time}`;
  };
  const ticks = (times, range, width) => {
    const from = Math.max(0, Math.ceil(range[0])), to = Math.min(times.length - 1, Math.floor(range[1]));
    if (to < from) return { tickvals: [], ticktext: [] };
    const part = times[to] - times[from] > 8 * 1440 ? 'day' : 'both';
    const most = Math.max(2, Math.floor(width / 105)), step = Math.max(1, Math.ceil((to - from) / most));
    const places = [];
    for (let place = from; place <= to; place += step) places.push(place);
    return { tickvals: places, ticktext: places.map((place) => words(times[place], part)) };
  };
  const places = (times) => times.map((_, place) => place);

  // --- one look for all charts ---
  const layout = (more) => {
    const axis = { gridcolor: color('line'), zerolinecolor: color('held'), linecolor: color('line'), automargin: true };
    const made = {
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', margin: { l: 8, r: 14, t: 8, b: 8 },
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color('soft') }, hovermode: 'x',
      hoverlabel: { bgcolor: color('card'), bordercolor: color('line'), font: { color: color('ink') } },
      legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0 }, showlegend: false, ...more,
    };
    for (const name of Object.keys(made)) {
      if (/^[xy]axis/.test(name)) made[name] = { ...axis, ...made[name], title: { standoff: 8, ...made[name].title } };
    }
    return made;
  };
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ['lasso2d', 'select2d', 'toImage'] };
  const show = (id, traces, more, times) => {
    const chart = $(id);
    if (!chart) return;
    const shown = layout(more);
    if (times) Object.assign(shown.xaxis, ticks(times, shown.xaxis.range || [0, times.length - 1], chart.clientWidth));
    Plotly.react(chart, traces, shown, options);
    if (times && !chart.follows) {
      chart.follows = true;
      chart.on('plotly_relayout', (change) => {
        if (!Object.keys(change).some((key) => key.startsWith('xaxis.range') || key === 'xaxis.autorange')) return;
        const next = ticks(chart.times, chart.layout.xaxis.range, chart.clientWidth);
        Plotly.relayout(chart, { 'xaxis.tickvals': next.tickvals, 'xaxis.ticktext': next.ticktext });
      });
    }
    chart.times = times;
  };
  const line = (x, y, name, more) => ({ type: 'scatter', mode: 'lines', x, y, name, ...more });

  const drawCurve = () => {
    const curve = data.curve, x = places(curve.t), when = curve.t.map((at) => words(at));
    const tip = (unit) => `%{customdata}<br>%{fullData.name} %{y:,.2f} ${unit}<extra></extra>`;
    const account = curve.unit === 'equity';
    const traces = [line(x, curve.value, account ? 'account' : 'gain', {
      line: { color: color('gain'), width: 2 }, customdata: when, hovertemplate: tip('$'),
    })];
    if (curve.benchmark) {
      traces.unshift(line(x, curve.benchmark, 'benchmark held', {
        line: { color: color('held'), width: 1.3 }, customdata: when, hovertemplate: tip('$'),
      }));
    }
    const more = {
      showlegend: Boolean(curve.benchmark), xaxis: { range: [0, x.length - 1] },
      yaxis: { title: { text: account ? 'equity, $' : 'gain, $' }, tickformat: ',.0f', domain: curve.drawdown ? [0.32, 1] : [0, 1] },
    };
    if (curve.drawdown) {
      traces.push(line(x, curve.drawdown, 'drawdown', {
        yaxis: 'y2', fill: 'tozeroy', fillcolor: color('loss', 0.22), line: { color: color('loss'), width: 1.2 },
        customdata: when, hovertemplate: tip('%'), showlegend: false,
      }));
      more.yaxis2 = { title: { text: 'drawdown, %' }, domain: [0, 0.25], anchor: 'x', rangemode: 'tozero', nticks: 4 };
    }
    show('curve', traces, more, curve.t);
    const unit = account ? '% of equity' : '$';
    const exposed = data.curve.exposed, at = exposed.t.map((minutes) => words(minutes, exposed.mean ? 'day' : ''));
    show('exposure', ['gross', 'net'].map((name) => line(places(exposed.t), exposed[name], name, {
      line: { color: color(name === 'gross' ? 'gain' : 'other'), width: 1.4, dash: name === 'net' ? 'dot' : 'solid' }, customdata: at, hovertemplate: tip(unit),
    })), {
      showlegend: true, xaxis: { range: [0, at.length - 1] }, yaxis: { title: { text: `exposure, ${unit}` }, rangemode: 'tozero' },
    }, exposed.t);
  };

  const drawRolling = () => {
    for (const [id, name, text] of [['rolling', 'Sharpe', 'Sharpe ratio, a year'], ['beta', 'beta', 'beta']]) {
      if (!data[id]) continue;
      const { t, value } = data[id];
      show(id, [line(places(t), value, name, {
        line: { color: color('gain'), width: 1.6 }, customdata: t.map((at) => words(at, 'day')),
        hovertemplate: `%{customdata}<br>${name} %{y:.2f}<extra></extra>`,
      })], { xaxis: { range: [0, t.length - 1] }, yaxis: { title: { text } } }, t);
    }
    if (data.daily) {
      const { t, value } = data.daily;
      show('daily', [{
        type: 'bar', x: places(t), y: value, customdata: t.map((at) => words(at, 'day')), hovertemplate: '%{customdata}<br>%{y:+.2f} %<extra></extra>',
        marker: { color: value.map((gained) => color(gained < 0 ? 'loss' : 'gain')), line: { width: 0 } },
      }], { bargap: 0.1, xaxis: { range: [-0.5, t.length - 0.5] }, yaxis: { title: { text: 'return, %' } } }, t);
    }
  };

  const drawBeside = () => {
    data.beside.forEach((one, n) => {
      if (!one) return;
      const when = one.t.map((at) => words(at));
      show(`beside-${n}`, [['ours', 'this batch', 'gain', 'solid'], ['theirs', 'the other', 'loss', 'dash']].map(([key, name, hue, dash]) => line(
        places(one.t), one[key], name, { line: { color: color(hue), width: 1.8, dash }, customdata: when, hovertemplate: `%{customdata}<br>${name} %{y:+.3f} %<extra></extra>` },
      )), { showlegend: true, xaxis: { range: [0, one.t.length - 1] }, yaxis: { title: { text: 'gained, %' } } }, one.t);
    });
  };

  const drawTrades = () => {
    const bars = data.histogram;
    if (bars) {
      const middle = bars.counts.map((_, i) => (bars.edges[i] + bars.edges[i + 1]) / 2);
      const last = bars.counts.length - 1;
      const span = bars.counts.map((_, i) => i === 0 ? `below ${bars.edges[1]}` : i === last ? `from ${bars.edges[last]}`
        : `${bars.edges[i]} to ${bars.edges[i + 1]}`);
      show('histogram', [{
        type: 'bar', x: middle, y: bars.counts, customdata: span, hovertemplate: `%{customdata} ${bars.unit}<br>%{y:,} trades<extra></extra>`,
        marker: { color: middle.map((at) => color(at < 0 ? 'loss' : 'gain')) },
      }], { bargap: 0.06, hovermode: 'closest', xaxis: { title: { text: bars.unit === 'R' ? 'result, R units' : 'result, $' } }, yaxis: { title: { text: 'trades' } } });
    }
    const dots = data.excursions;
    for (const [id, name, text] of [['mae', 'mae', 'MAE'], ['mfe', 'mfe', 'MFE']]) {
      if (!dots) continue;
      const traces = [true, false].map((won) => {
        const chosen = places(dots.gain).filter((i) => (dots.gain[i] > 0) === won);
        return {
          type: 'scatter', mode: 'markers', name: won ? 'won' : 'lost', x: chosen.map((i) => dots[name][i]), y: chosen.map((i) => dots.gain[i]),
          marker: { color: color(won ? 'gain' : 'loss', 0.55), symbol: won ? 'circle' : 'x-thin', size: 6, line: { width: won ? 0 : 1.4, color: color('loss', 0.8) } },
          hovertemplate: `${text} %{x:.2f} %<br>result %{y:,.2f} $<extra></extra>`,
        };
      });
      show(id, traces, { showlegend: true, hovermode: 'closest', xaxis: { title: { text: `${text}, % of entry price` }, rangemode: 'tozero' }, yaxis: { title: { text: 'result, $' } } });
    }
  };

  const FIRST_TRADES = 25;
  const drawPrice = () => {
    const one = data.symbols[Number($('symbol') ? $('symbol').value : 0)];
    if (!one) return;
    const x = places(one.t), money = (value) => value.toLocaleString('en', { maximumFractionDigits: 4 });
    const traces = [{
      type: 'candlestick', name: 'price', x, open: one.open, high: one.high, low: one.low, close: one.close, hoverinfo: 'text',
      text: x.map((i) => `${words(one.t[i])}<br>open ${money(one.open[i])} $  high ${money(one.high[i])} $<br>low ${money(one.low[i])} $  close ${money(one.close[i])} $`),
      increasing: { line: { color: color('held'), width: 1 }, fillcolor: 'rgba(0,0,0,0)' },
      decreasing: { line: { color: color('held'), width: 1 }, fillcolor: color('held') },
    }];
    const joined = (name, segments, style) => traces.push(line(
      segments.flatMap(([a, , b]) => [a, b, null]), segments.flatMap(([, p, , q]) => [p, q, null]), name, { hoverinfo: 'skip', ...style }));
    joined('stop', one.trades.filter((t) => t[5] !== null).map((t) => [t[0], t[5], t[2], t[5]]), { line: { color: color('loss'), width: 1.2, dash: 'dot' } });
    joined('target', one.trades.filter((t) => t[6] !== null).map((t) => [t[0], t[6], t[2], t[6]]), { line: { color: color('mark'), width: 1.2, dash: 'dash' } });
    joined('trade that won', one.trades.filter((t) => t[7] > 0), { line: { color: color('gain'), width: 2 } });
    joined('trade that lost', one.trades.filter((t) => t[7] <= 0), { line: { color: color('loss'), width: 2 } });
    const dollars = (t) => `${t[7] < 0 ? '−' : '+'}${money(Math.abs(t[7]))} $`;
    traces.push({
      type: 'scatter', mode: 'markers', name: 'entry', x: one.trades.map((t) => t[0]), y: one.trades.map((t) => t[1]),
      marker: { symbol: one.trades.map((t) => t[4] > 0 ? 'triangle-up' : 'triangle-down'), size: 10, color: color('other'), line: { width: 1, color: color('card') } },
      text: one.trades.map((t) => `${words(one.t[t[0]])}<br>${t[4] > 0 ? 'long' : 'short'} from ${money(t[1])} $<br>came to ${dollars(t)}`), hoverinfo: 'text',
    }, {
      type: 'scatter', mode: 'markers', name: 'exit', x: one.trades.map((t) => t[2]), y: one.trades.map((t) => t[3]),
      marker: { symbol: 'square', size: 7, color: color('other'), line: { width: 1, color: color('card') } },
      text: one.trades.map((t) => `${words(one.t[t[2]])}<br>out at ${money(t[3])} $<br>came to ${dollars(t)}`), hoverinfo: 'text',
    });
    // The newest trades fill the first view; the button beside it shows all.
    const last = x.length - 1, whole = $('whole').dataset.whole === 'yes' || one.trades.length <= FIRST_TRADES;
    const from = whole ? 0 : one.trades[one.trades.length - FIRST_TRADES][0], margin = Math.max(2, (last - from) / 60);
    const seen = one.trades.filter((t) => t[2] >= from).flatMap((t) => [t[1], t[3], t[5] ?? t[1], t[6] ?? t[1]]);
    const lows = one.low.slice(from).concat(seen), highs = one.high.slice(from).concat(seen);
    const [low, high] = [lows.reduce((a, b) => Math.min(a, b)), highs.reduce((a, b) => Math.max(a, b))];
    show('price', traces, {
      showlegend: true, hovermode: 'closest', xaxis: { range: [from - margin, last + margin], rangeslider: { visible: false } },
      yaxis: { title: { text: 'price, $ a share' }, range: [low - (high - low) / 25, high + (high - low) / 25] },
    }, one.t);
    $('whole').textContent = whole ? 'newest trades' : 'whole time';
    $('whole').hidden = one.trades.length <= FIRST_TRADES;
    $('drawn').textContent = one.trades.length < one.of
      ? `${one.trades.length} of ${one.of.toLocaleString('en')} trades are drawn: those that gained or lost most, and the newest` : `${one.of.toLocaleString('en')} trades`;
  };

  const draw = () => { drawBeside(); drawCurve(); drawRolling(); drawTrades(); drawPrice(); };

  // --- tables are sorted by a click on a heading ---
  const worth = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = Number(text.replace(/[,+%$\s]/g, '').replace('−', '-'));
    return text === '' || Number.isNaN(number) ? text : number;
  };
  for (const table of document.querySelectorAll('table.sort')) {
    for (const heading of table.tHead.rows[0].cells) {
      heading.tabIndex = 0;
      const sort = () => {
        const up = heading.getAttribute('aria-sort') === 'descending', column = heading.cellIndex;
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => {
          const [p, q] = [worth(a, column), worth(b, column)];
          const order = typeof p === typeof q ? (p < q ? -1 : p > q ? 1 : 0) : typeof p === 'string' ? 1 : -1;
          return up || typeof p !== typeof q ? order : -order;
        });
        for (const cell of table.tHead.rows[0].cells) cell.removeAttribute('aria-sort');
        heading.setAttribute('aria-sort', up ? 'ascending' : 'descending');
        table.tBodies[0].append(...rows);
      };
      heading.addEventListener('click', sort);
      heading.addEventListener('keydown', (event) => { if (event.key === 'Enter') sort(); });
    }
  }

  setTheme(dark.matches ? 'dark' : 'light');
  const start = async () => {
    const packed = Uint8Array.from(atob($('library').textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    const script = document.createElement('script');
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    draw();
    $('theme').addEventListener('click', () => { setTheme(root.dataset.theme === 'dark' ? 'light' : 'dark'); draw(); });
    dark.addEventListener('change', () => { setTheme(dark.matches ? 'dark' : 'light'); draw(); });
    if ($('symbol')) {
      $('symbol').addEventListener('change', drawPrice);
      $('whole').addEventListener('click', () => {
        $('whole').dataset.whole = $('whole').dataset.whole === 'yes' ? 'no' : 'yes';
        drawPrice();
      });
    }
    root.dataset.drawn = 'yes';
  };
  if (typeof DecompressionStream === 'undefined') {
    for (const chart of document.querySelectorAll('.chart')) chart.textContent = 'This browser is too old to draw charts: every figure stands in the tables.';
  } else {
    start();
  }
})();
