// The chart: candles and volume, MACD-V below. Draws what a Bars holds, with TradingView Lightweight Charts.
import { histogramKind, markText, shiftOf } from "./bars.js";
import { macdv, price } from "./format.js";
import { crosshairTime, tickTime } from "./chart-times.js";
import { faded, onPalette, readPalette } from "./palette.js";

const LEVELS = [-150, -50, 50, 150];
const LEAST_RANGE = 60;
const BAR = 8;
const REM = 16;
const FORMING = 0.4;
const WEAK = 0.45;
const PERCENT = 2;
const NORMAL = 0;

export class Chart {
  /**
   * @param {object} options
   * @param {HTMLElement} options.root
   * @param {(t: number | null) => void} options.onPoint the candle under the pointer, by its open time
   */
  constructor({ root, onPoint }) {
    const library = window.LightweightCharts;
    this.root = root;
    /** A screen that is read from further away has larger letters, and gets larger bars and lines. */
    this.scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / REM;
    this.colours = readPalette();
    /** @type {import("./bars.js").Bars | null} */
    this.bars = null;
    /** @type {import("./bars.js").Bars | null} */
    this.other = null;
    this.alerts = [];
    this.decimals = null;
    this.shift = 0;
    this.drawnForming = 0;
    this.chart = library.createChart(root, this.options());
    this.addSeries(library);
    this.chart.subscribeCrosshairMove(({ time }) => onPoint(time === undefined ? null : (time - this.shift) * 1000));
    onPalette(() => this.repaint());
  }

  options() {
    const { surface, line, strong, muted } = this.colours;
    const style = getComputedStyle(document.body);
    return {
      autoSize: true,
      layout: {
        background: { color: surface },
        textColor: muted,
        fontFamily: style.fontFamily,
        fontSize: Math.round(parseFloat(style.fontSize) * 0.88),
        attributionLogo: true,
        panes: { separatorColor: line, separatorHoverColor: faded(strong, 0.5) },
      },
      grid: { vertLines: { color: faded(line, 0.55) }, horzLines: { color: faded(line, 0.55) } },
      crosshair: {
        mode: 0,
        vertLine: { color: muted, labelBackgroundColor: strong },
        horzLine: { color: muted, labelBackgroundColor: strong },
      },
      rightPriceScale: { borderColor: line },
      timeScale: {
        borderColor: line,
        timeVisible: true,
        secondsVisible: false,
        rightOffset: 4,
        barSpacing: BAR * this.scale,
        tickMarkFormatter: (time, kind) => tickTime((time - this.shift) * 1000, kind, this.inDays),
      },
      localization: { timeFormatter: (time) => crosshairTime((time - this.shift) * 1000, this.inDays) },
    };
  }

  get inDays() {
    return this.bars?.timeframe === "1d";
  }

  addSeries({ CandlestickSeries, HistogramSeries, LineSeries, createSeriesMarkers }) {
    const quiet = { priceLineVisible: false, lastValueVisible: false };
    const reading = { type: "custom", minMove: 0.1, formatter: (value) => macdv(value) };
    this.candles = this.chart.addSeries(CandlestickSeries, {}, 0);
    this.volume = this.chart.addSeries(HistogramSeries, { ...quiet, priceScaleId: "volume", priceFormat: { type: "volume" } }, 0);
    const [thick, thin] = [2, 1].map((width) => Math.min(Math.round(width * this.scale), 4));
    this.compare = this.chart.addSeries(LineSeries, { lineWidth: thick, priceLineVisible: false, crosshairMarkerRadius: 3 }, 0);
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: 0.2 } });
    this.histogram = this.chart.addSeries(HistogramSeries, { ...quiet, priceFormat: reading }, 1);
    this.macdv = this.chart.addSeries(
      LineSeries,
      { lineWidth: thick, priceLineVisible: false, priceFormat: reading, crosshairMarkerRadius: 3, autoscaleInfoProvider: withLevels },
      1,
    );
    this.signal = this.chart.addSeries(LineSeries, { ...quiet, lineWidth: thin, priceFormat: reading, crosshairMarkerRadius: 2 }, 1);
    this.levels = LEVELS.map((level) => this.macdv.createPriceLine({ price: level, lineWidth: thin, axisLabelVisible: Math.abs(level) === 150 }));
    this.marks = createSeriesMarkers(this.candles, []);
    const [top, bottom] = this.chart.panes();
    top.setStretchFactor(7);
    bottom.setStretchFactor(3);
    this.paint();
  }

  /** Colours of the series, from the palette. */
  paint() {
    const { up, down, macdv: line, signal, compare, muted, strong } = this.colours;
    this.candles.applyOptions({
      upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderVisible: false, priceLineColor: muted,
    }); // prettier-ignore
    this.macdv.applyOptions({ color: line });
    this.signal.applyOptions({ color: signal });
    this.compare.applyOptions({ color: compare });
    for (const level of this.levels) {
      const outer = Math.abs(level.options().price) === 150;
      level.applyOptions({ color: faded(muted, outer ? 0.9 : 0.55), lineStyle: outer ? 2 : 3, axisLabelColor: strong });
    }
  }

  repaint() {
    this.colours = readPalette();
    this.chart.applyOptions(this.options());
    this.paint();
    if (this.bars) this.draw();
  }

  /** Show another series from its end. @param {import("./bars.js").Bars} bars @param {number} now */
  show(bars, now) {
    this.bars = bars;
    this.shift = shiftOf(bars.timeframe, now);
    this.draw();
    this.toTheEnd();
  }

  toTheEnd() {
    const count = this.bars.all().length;
    const visible = Math.max(20, Math.floor(this.root.clientWidth / (BAR * this.scale)) - 12);
    this.chart.timeScale().setVisibleLogicalRange({ from: Math.max(count - visible, -2), to: count + 4 });
  }

  /** A candle in the middle, or as near to it as there are candles. @param {number} t its open time */
  toCandle(t) {
    const bars = this.bars.all();
    const at = bars.findIndex((bar) => bar.t === t);
    const visible = Math.max(20, Math.floor(this.root.clientWidth / (BAR * this.scale)) - 12);
    const to = Math.min(at + visible / 2, bars.length + 4);
    this.chart.timeScale().setVisibleLogicalRange({ from: to - visible, to });
  }

  /** The other exchange's candles, or null for none. @param {import("./bars.js").Bars | null} other */
  setOther(other) {
    this.other = other;
    this.candles.priceScale().applyOptions({ mode: other ? PERCENT : NORMAL });
    this.drawOther();
  }

  /** @param {object[]} alerts */
  setAlerts(alerts) {
    this.alerts = alerts;
    this.drawMarks();
  }

  /** @param {number} decimals */
  setDecimals(decimals) {
    if (this.decimals === decimals) return;
    this.decimals = decimals;
    const format = { type: "custom", minMove: 10 ** -decimals, formatter: (value) => price(value, decimals) };
    for (const series of [this.candles, this.compare]) series.applyOptions({ priceFormat: format });
  }

  timeOf(t) {
    return t / 1000 + this.shift;
  }

  /** All of it: after a load, and where something in the middle is another. */
  draw() {
    const { bars } = this;
    const all = bars.all();
    this.candles.setData(all.map((bar) => this.candleOf(bar)));
    this.volume.setData(all.map((bar) => this.volumeOf(bar)));
    const readings = bars.closed.map((bar) => bars.readings.get(bar.t));
    const line = (name) => bars.closed.map((bar, at) => this.pointOf(bar.t, readings[at]?.[name]));
    this.macdv.setData(line("macdv"));
    this.signal.setData(line("signal"));
    this.histogram.setData(bars.closed.map((bar, at) => this.histogramOf(bar.t, readings[at]?.histogram, readings[at - 1]?.histogram)));
    this.drawnForming = bars.forming().length;
    this.drawOther();
    this.drawMarks();
  }

  /** A candle has closed after the others. */
  append() {
    const { bars } = this;
    const bar = bars.last;
    const reading = bars.readings.get(bar.t);
    const before = bars.readings.get(bars.closed.at(-2)?.t);
    // What formed may be other bars than before: where more than one was drawn, the closed one is not the last any more.
    if (this.drawnForming > 1 || bars.forming().length) {
      this.draw();
      return;
    }
    this.candles.update(this.candleOf(bar));
    this.volume.update(this.volumeOf(bar));
    this.macdv.update(this.pointOf(bar.t, reading?.macdv));
    this.signal.update(this.pointOf(bar.t, reading?.signal));
    this.histogram.update(this.histogramOf(bar.t, reading?.histogram, before?.histogram));
    this.drawnForming = 0;
    this.drawOther();
  }

  /** A price has come: the last bar is another, or a new one has begun. */
  move() {
    const forming = this.bars.forming();
    for (const bar of forming.slice(Math.max(this.drawnForming - 1, 0))) {
      this.candles.update(this.candleOf(bar));
      this.volume.update(this.volumeOf(bar));
    }
    this.drawnForming = forming.length;
  }

  /** The other exchange's price has moved. */
  moveOther() {
    const last = this.other?.all().at(-1);
    const end = this.bars?.all().at(-1);
    if (last && end && last.t === end.t) this.compare.update({ time: this.timeOf(last.t), value: last.close });
  }

  drawOther() {
    const all = this.bars?.all() ?? [];
    const [first, last] = [all[0]?.t ?? 0, all.at(-1)?.t ?? 0];
    const shown = this.other?.all().filter((bar) => bar.t >= first && bar.t <= last) ?? [];
    this.compare.setData(shown.map((bar) => ({ time: this.timeOf(bar.t), value: bar.close })));
  }

  drawMarks() {
    const { up, down } = this.colours;
    this.marks.setMarkers(
      this.alerts.map((alert) => {
        const rising = alert.direction === "up";
        return {
          time: this.timeOf(alert.candle_time),
          position: rising ? "belowBar" : "aboveBar",
          shape: rising ? "arrowUp" : "arrowDown",
          color: rising ? up : down,
          text: markText(alert),
          id: alert.uid,
        };
      }),
    );
  }

  candleOf({ t, open, high, low, close, forming }) {
    const candle = { time: this.timeOf(t), open, high, low, close };
    if (!forming) return candle;
    const colour = faded(close < open ? this.colours.down : this.colours.up, FORMING);
    return { ...candle, color: colour, wickColor: colour, borderColor: colour };
  }

  volumeOf({ t, open, close, volume, forming }) {
    const colour = close < open ? this.colours.down : this.colours.up;
    return { time: this.timeOf(t), value: volume, color: faded(colour, forming ? 0.15 : 0.3) };
  }

  /** An undefined value is a place without a point, never a 0. */
  pointOf(t, value) {
    const time = this.timeOf(t);
    return typeof value === "number" ? { time, value } : { time };
  }

  histogramOf(t, value, before) {
    const point = this.pointOf(t, value);
    if (point.value === undefined) return point;
    const kind = histogramKind(value, before);
    const colour = kind.startsWith("up") ? this.colours.up : this.colours.down;
    return { ...point, color: faded(colour, kind.endsWith("weak") ? WEAK * 0.7 : 0.75) };
  }
}

/** The range of MACD-V is never so narrow that a quiet market looks wild. */
function withLevels(original) {
  const range = original()?.priceRange;
  return {
    priceRange: { minValue: Math.min(range?.minValue ?? 0, -LEAST_RANGE), maxValue: Math.max(range?.maxValue ?? 0, LEAST_RANGE) },
  };
}
