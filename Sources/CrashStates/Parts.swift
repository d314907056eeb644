// Owns the taking apart of what is on its way to a disk, into the parts that a power cut keeps or loses one by one, and
// the choice of subsets of them.

struct Parts {
  static let sectorBytes = 512

  private enum Change {
    case file(FileChange)
    case name(NameChange)
  }

  private struct Part {
    var node: Int
    var change: Change
    /// Parts of one write have the same number.
    var origin: Int
    var isCertain: Bool
  }

  private let disk: Disk
  /// In the order of each node's changes.
  private var parts: [Part] = []
  /// The places in `parts` of those that may be lost.
  private var open: [Int] = []
  private var origins = 0
  private var nodes: [Int] = []

  init(_ disk: Disk) {
    self.disk = disk
    for (place, node) in disk.nodes.enumerated() where !node.isMapped {
      switch node.content {
      case .file(let durable, _, let onTheWay):
        if !onTheWay.isEmpty { nodes.append(place) }
        for change in onTheWay { split(change, of: place, durableBytes: durable.count) }
      case .directory(_, _, let onTheWay):
        if !onTheWay.isEmpty { nodes.append(place) }
        for change in onTheWay {
          add(Part(node: place, change: .name(change), origin: origins, isCertain: false))
          origins += 1
        }
      }
    }
  }

  var count: Int { open.count }

  private mutating func add(_ part: Part) {
    if !part.isCertain { open.append(parts.count) }
    parts.append(part)
  }

  /// A write becomes one part for each sector that it touches, and one for the new length that it gave the file.
  private mutating func split(_ change: FileChange, of node: Int, durableBytes: Int) {
    defer { origins += 1 }
    guard case .write(let position, let bytes, isDurable: false) = change else {
      var isCertain = false
      if case .write = change { isCertain = true }
      add(Part(node: node, change: .file(change), origin: origins, isCertain: isCertain))
      return
    }
    if position + bytes.count > durableBytes {
      add(
        Part(node: node, change: .file(.extent(position + bytes.count)), origin: origins, isCertain: false))
    }
    var start = position
    while start < position + bytes.count {
      let end = min((start / Self.sectorBytes + 1) * Self.sectorBytes, position + bytes.count)
      let piece = FileChange.write(
        position: start, bytes: Array(bytes[(start - position)..<(end - position)]), isDurable: false)
      add(Part(node: node, change: .file(piece), origin: origins, isCertain: false))
      start = end
    }
  }

  // MARK: Choosing

  /// One subset. The first ones are those that find most: nothing, everything, one write lost, one write alone, one
  /// file alone, everything up to a point; then more and more at random.
  func subset(_ number: Int, _ choosing: inout Choosing) -> [Bool] {
    switch number {
    case 0: return open.map { _ in false }
    case 1: return open.map { _ in true }
    default: break
    }
    let (origin, node, place) = (
      choosing.below(origins), nodes[choosing.below(nodes.count)], choosing.below(open.count)
    )
    switch number % 8 {
    case 2: return open.map { parts[$0].origin != origin }
    case 3: return open.map { parts[$0].origin == origin }
    case 4: return open.map { parts[$0].node == node }
    case 5: return open.map { parts[$0].node != node }
    case 6: return open.indices.map { $0 < place }
    case 7: return open.indices.map { $0 != place }
    default:
      let of8 = 1 + choosing.below(7)
      return open.map { _ in choosing.below(8) < of8 }
    }
  }

  func image(_ chosen: [Bool]) -> DiskImage {
    var kept = [Bool](repeating: true, count: parts.count)
    for (place, isChosen) in zip(open, chosen) { kept[place] = isChosen }
    var fileChanges: [Int: [FileChange]] = [:]
    var nameChanges: [NameChange] = []
    for (place, part) in parts.enumerated() where kept[place] {
      switch part.change {
      case .file(let change): fileChanges[part.node, default: []].append(change)
      case .name(let change): nameChanges.append(change)
      }
    }
    return disk.image { number, node in
      switch node.content {
      case .file(var durable, _, _):
        for change in fileChanges[number.rawValue] ?? [] { change.apply(to: &durable) }
        return .file(durable)
      case .directory(var durable, _, _):
        for change in nameChanges { change.apply(to: &durable, of: number) }
        return .directory(durable)
      }
    }
  }
}
