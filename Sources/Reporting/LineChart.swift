// Owns a chart of lines as SVG: axes with units, one hue for each series, and its name beside its end.
//
// It must never need a script or a second file, and never say by colour alone what a series is.

/// One line of a chart.
struct ChartSeries {
  /// What a series is, which decides its hue. The style sheet has a class for each.
  enum Role: String {
    case first = "s1"
    case second = "s2"
    case third = "s3"
    /// What figures are held against, such as the rate that was offered.
    case reference = "ref"
    case trouble = "bad"
  }

  struct Point: Equatable {
    var x: Double
    var y: Double
  }

  var role: Role
  var label: String
  /// Each is drawn as one line; between them the series has no figures.
  var segments: [[Point]]
  /// Drawn dotted: where the line is headed without enough samples for it.
  var dotted: [Point] = []
  /// A point that is marked, with its figure.
  var marked: (point: Point, label: String)?

  /// Single figures, each seen by itself.
  var dots: [Point] = []

  /// Where its name belongs.
  var lastPoint: Point? { segments.last { !$0.isEmpty }?.last ?? dotted.last }
}

/// How much room a chart has. Each is drawn once for a desk and once for a phone, since shrinking one drawing to a
/// third would shrink its letters too.
enum ChartSize: String, CaseIterable {
  case wide
  case narrow

  var width: Double { self == .wide ? 820 : 358 }
  var height: Double { self == .wide ? 260 : 220 }
}

struct LineChart {
  /// What the chart shows, for who cannot see it.
  var description: String
  var x: ChartScale
  var y: ChartScale
  var series: [ChartSeries]
  /// A part of the horizontal axis that is shaded.
  var band: ClosedRange<Double>?

  private struct Frame {
    var left = 66.0
    var right: Double
    var top = 12.0
    var bottom: Double
  }

  private static let rightMargin = 92.0
  private static let bottomMargin = 26.0
  /// How close two names may stand, in pixels.
  private static let labelHeight = 15.0

  /// The drawings for both sizes; the style sheet shows one of them.
  var markup: Markup {
    Markup("div", ["class": "chart"], ChartSize.allCases.map { drawing($0) })
  }

  func drawing(_ size: ChartSize) -> Markup {
    let frame = Frame(right: size.width - Self.rightMargin, bottom: size.height - Self.bottomMargin)
    return Markup(
      "svg",
      [
        "class": size.rawValue, "viewBox": "0 0 \(Self.pixel(size.width)) \(Self.pixel(size.height))",
        "role": "img", "aria-label": description,
      ],
      shade(frame) + grid(frame, size) + series.flatMap { lines($0, frame) } + names(frame))
  }

  // MARK: Axes

  private func grid(_ frame: Frame, _ size: ChartSize) -> [Markup] {
    let rows = y.ticks.flatMap { tick -> [Markup] in
      let place = at(y, tick.value, frame)
      return [
        Self.line("grid", frame.left, place, frame.right, place),
        Self.label("tick end", frame.left - 8, place + 4, tick.label),
      ]
    }
    let columns = Self.thinned(x.ticks, for: size).flatMap { tick -> [Markup] in
      let place = across(tick.value, frame)
      return [
        Self.line("axis", place, frame.bottom, place, frame.bottom + 4),
        Self.label("tick middle", place, frame.bottom + 19, tick.label),
      ]
    }
    return rows + columns + [Self.line("axis", frame.left, frame.bottom, frame.right, frame.bottom)]
  }

  /// Every other tick where there is little room.
  private static func thinned(_ ticks: [ChartTick], for size: ChartSize) -> [ChartTick] {
    guard size == .narrow, ticks.count > 5 else { return ticks }
    return ticks.enumerated().filter { $0.offset.isMultiple(of: 2) }.map(\.element)
  }

  private func across(_ value: Double, _ frame: Frame) -> Double {
    frame.left + x.share(of: value) * (frame.right - frame.left)
  }

  private func at(_ scale: ChartScale, _ value: Double, _ frame: Frame) -> Double {
    frame.bottom - scale.share(of: value) * (frame.bottom - frame.top)
  }

  private func shade(_ frame: Frame) -> [Markup] {
    guard let band else { return [] }
    let (from, to) = (across(band.lowerBound, frame), across(band.upperBound, frame))
    return [
      Markup(
        "rect",
        [
          "class": "band", "x": Self.pixel(from), "y": Self.pixel(frame.top),
          // However narrow, it is to be seen.
          "width": Self.pixel(Swift.max(2, to - from)), "height": Self.pixel(frame.bottom - frame.top),
        ])
    ]
  }

  // MARK: Lines

  private func lines(_ series: ChartSeries, _ frame: Frame) -> [Markup] {
    func places(_ points: [ChartSeries.Point]) -> [(Double, Double)] {
      points.map { (across($0.x, frame), at(y, $0.y, frame)) }
    }
    var drawn = series.segments.filter { !$0.isEmpty }.map { segment -> Markup in
      let places = places(segment)
      // A line of one point would not be seen.
      return places.count == 1
        ? Self.dot(series.role, places[0])
        : Markup("path", ["class": "line \(series.role.rawValue)", "d": Self.path(places)])
    }
    if series.dotted.count > 1 {
      drawn.append(
        Markup("path", ["class": "line dotted \(series.role.rawValue)", "d": Self.path(places(series.dotted))]))
    }
    drawn += places(series.dots).map { Self.dot(series.role, $0) }
    if let marked = series.marked { drawn.append(Self.dot(series.role, places([marked.point])[0])) }
    return drawn
  }

  private static func dot(_ role: ChartSeries.Role, _ place: (Double, Double)) -> Markup {
    Markup("circle", ["class": "dot \(role.rawValue)", "cx": pixel(place.0), "cy": pixel(place.1), "r": "3"])
  }

  /// Points closer than an eye can tell apart are left out, the last one never.
  private static func path(_ places: [(Double, Double)]) -> String {
    var text = ""
    var kept = (-1e9, -1e9)
    for (index, place) in places.enumerated() {
      let isLast = index == places.count - 1
      let isMove = (place.0 - kept.0).magnitude >= 0.4 || (place.1 - kept.1).magnitude >= 0.4
      guard isMove || isLast else { continue }
      text += "\(text.isEmpty ? "M" : "L")\(pixel(place.0)) \(pixel(place.1))"
      kept = place
    }
    return text
  }

  // MARK: Names

  private struct Name {
    var role: ChartSeries.Role
    var text: String
    var y: Double
  }

  /// The name of each series beside its end, moved apart where ends meet.
  private func names(_ frame: Frame) -> [Markup] {
    var names: [Name] = []
    for one in series {
      if let point = one.lastPoint {
        names.append(Name(role: one.role, text: one.label, y: at(y, point.y, frame)))
      }
      if let marked = one.marked {
        names.append(Name(role: one.role, text: marked.label, y: at(y, marked.point.y, frame)))
      }
    }
    names.sort { $0.y < $1.y }
    for index in names.indices.dropFirst() {
      names[index].y = Swift.max(names[index].y, names[index - 1].y + Self.labelHeight)
    }
    // What was pushed below the axis is pushed back up, from the last one on.
    var limit = frame.bottom
    for index in names.indices.reversed() {
      names[index].y = Swift.min(names[index].y, limit)
      limit = names[index].y - Self.labelHeight
    }
    return names.map { Self.label("name \($0.role.rawValue)", frame.right + 8, $0.y + 4, $0.text) }
  }

  // MARK: Pieces

  private static func line(_ role: String, _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double) -> Markup {
    Markup(
      "line", ["class": role, "x1": pixel(x1), "y1": pixel(y1), "x2": pixel(x2), "y2": pixel(y2)])
  }

  private static func label(_ role: String, _ x: Double, _ y: Double, _ text: String) -> Markup {
    Markup("text", ["class": role, "x": pixel(x), "y": pixel(y)], text: text)
  }

  /// A tenth of a pixel is more than a screen shows.
  private static func pixel(_ value: Double) -> String {
    let text = FigureText.decimals(value, 1)
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}
