// Owns the enumeration: from a recording, every state in which a power cut may have left the disk, or where those are
// too many, a sample of them that a seed chooses.
//
// A power cut may come between any two calls and within a synchronous write. Of what is on its way then, any part may
// have come through: each sector of 512 bytes of each write by itself, each change of a length, each change of a name.
// Within one sector later writes lie over earlier ones, and any of them may be missing; so "any order" is covered too.
//
// It must never leave out what was flushed, and never show a file that was only mapped.

package struct CrashState: Sendable {
  package var image: DiskImage
  /// How many marks the program had set before.
  package var marks: Int
  /// How many calls had returned.
  package var calls: Int
}

package struct CrashStates: Sendable {
  package struct Bounds: Sendable {
    /// Up to so many parts on their way, every subset of them is taken.
    package var exhaustiveParts: Int
    /// Beyond, so many subsets of them.
    package var sampledSubsets: Int

    package init(exhaustiveParts: Int = 6, sampledSubsets: Int = 48) {
      precondition(exhaustiveParts <= 16, "2 to the power of \(exhaustiveParts) states at each point are too many")
      self.exhaustiveParts = exhaustiveParts
      self.sampledSubsets = sampledSubsets
    }
  }

  package struct Count: Sendable, Equatable {
    /// Places in the recording at which the power was cut.
    package var points = 0
    package var exhaustivePoints = 0
    /// Subsets looked at.
    package var subsets = 0
    /// Images that were not seen before.
    package var distinct = 0
    /// Images that were not seen before with as many marks: what `body` was called with.
    package var shown = 0

    package init() {}

    package static func += (left: inout Count, right: Count) {
      left.points += right.points
      left.exhaustivePoints += right.exhaustivePoints
      left.subsets += right.subsets
      left.distinct += right.distinct
      left.shown += right.shown
    }
  }

  private let bounds: Bounds
  private var choosing: Choosing
  private var known: Set<UInt64> = []
  package private(set) var count = Count()

  package init(bounds: Bounds = Bounds(), seed: UInt64) {
    self.bounds = bounds
    choosing = Choosing(seed: seed)
  }

  /// Calls `body` with each state, until it returns false.
  package mutating func enumerate(
    _ calls: [Call], from initial: DiskImage = DiskImage(), _ body: (CrashState) -> Bool
  ) throws(RecordingError) {
    var disk = Disk(initial)
    var marks = 0
    guard cut(disk, marks: 0, calls: 0, body) else { return }
    for (place, call) in calls.enumerated() {
      if let torn = try disk.during(call) {
        guard cut(torn, marks: marks, calls: place, body) else { return }
      }
      try disk.take(call)
      if case .mark = call { marks += 1 }
      switch call {
      case .open(_, _, let flags) where flags.isDisjoint(with: [.creates, .truncates]): continue
      case .close, .duplicate, .map: continue
      default: guard cut(disk, marks: marks, calls: place + 1, body) else { return }
      }
    }
  }

  /// All that a power cut at this point may leave. Returns false when `body` has had enough.
  private mutating func cut(_ disk: Disk, marks: Int, calls: Int, _ body: (CrashState) -> Bool) -> Bool {
    let parts = Parts(disk)
    count.points += 1
    if parts.count <= bounds.exhaustiveParts {
      count.exhaustivePoints += 1
      for subset in 0..<(1 << parts.count) {
        let chosen = (0..<parts.count).map { subset >> $0 & 1 == 1 }
        guard show(parts.image(chosen), marks, calls, body) else { return false }
      }
      return true
    }
    for sample in 0..<bounds.sampledSubsets {
      guard show(parts.image(parts.subset(sample, &choosing)), marks, calls, body) else { return false }
    }
    return true
  }

  private mutating func show(_ image: DiskImage, _ marks: Int, _ calls: Int, _ body: (CrashState) -> Bool) -> Bool {
    count.subsets += 1
    var digest = Digest()
    digest.add(image.digest)
    if known.insert(digest.value).inserted { count.distinct += 1 }
    digest.add(UInt64(marks))
    guard known.insert(digest.value).inserted else { return true }
    count.shown += 1
    return body(CrashState(image: image, marks: marks, calls: calls))
  }
}
