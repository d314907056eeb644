// Owns the in-memory view of the log: the terms of all of it and the newest entries themselves.
// Must never: decide what is committed or durable; it is told what it may let go of.
// Invariants: cached entries are contiguous and end at `lastIndex`; indexes rise by one; terms and clocks never fall.

import DequeModule

struct Log: Sendable {
  private(set) var firstIndex: Index
  private(set) var lastIndex: Index
  private(set) var lastClockMilliseconds: UInt64
  private(set) var cachedBytes: Int
  private var runs: [TermRun]
  private var cached: Deque<Entry>

  init(restored: Restored) {
    firstIndex = restored.firstIndex
    lastIndex = restored.lastIndex
    lastClockMilliseconds = restored.lastClockMilliseconds
    runs = restored.termRuns
    if let snapshot = restored.snapshot, snapshot.index == firstIndex.previous, runs.first?.first != snapshot.index {
      // The snapshot knows the term of the entry that the log begins behind.
      runs.removeAll { $0.first <= snapshot.index }
      // The entries behind it may be of the same term, and then they are of the same run.
      if runs.first?.term == snapshot.term { runs.removeFirst() }
      runs.insert(TermRun(first: snapshot.index, term: snapshot.term), at: 0)
      lastClockMilliseconds = max(lastClockMilliseconds, snapshot.clockMilliseconds)
    }
    cached = Deque(restored.tail)
    cachedBytes = restored.tail.reduce(0) { $0 + $1.sizeBytes }
    check(restored)
  }

  /// What was read from a disk is not believed unseen: a log with holes would pass for a shorter one.
  private func check(_ restored: Restored) {
    precondition(firstIndex > .beforeFirst, "the first index of a log is at least 1, restored was \(firstIndex)")
    precondition(lastIndex >= firstIndex.previous, "restored \(firstIndex) is after the last, \(lastIndex)")
    for (earlier, later) in zip(runs, runs.dropFirst()) {
      precondition(earlier.first < later.first && earlier.term < later.term, "restored terms do not rise")
    }
    if lastIndex >= firstIndex {
      precondition(runs.first.map { $0.first <= firstIndex } ?? false, "restored terms leave out \(firstIndex)")
      precondition(runs.last.map { $0.first <= lastIndex } ?? false, "restored terms go beyond \(lastIndex)")
    }
    if let last = cached.last {
      precondition(last.index == lastIndex, "restored entries end at \(last.index), the log at \(lastIndex)")
      precondition(cached.count <= lastIndex.distance(from: firstIndex.previous), "more entries than the log has")
    }
    for (earlier, later) in zip(cached, cached.dropFirst()) {
      precondition(later.index == earlier.index.next, "restored entries jump from \(earlier.index) to \(later.index)")
    }
    for entry in cached {
      precondition(term(at: entry.index) == entry.term, "\(entry.index) was restored with two different terms")
    }
  }

  // MARK: Terms

  var lastTerm: Term { runs.last?.term ?? Term(0) }

  /// The term of the entry there, or nil where the log has none and does not know what was there.
  func term(at index: Index) -> Term? {
    if index == .beforeFirst { return Term(0) }
    guard index <= lastIndex, index >= firstIndex.previous else { return nil }
    return runs.last { $0.first <= index }?.term
  }

  /// The newest place at or before `index` whose term is not above `term`: nothing after it can agree with a log
  /// that has `term` at `index`. Both sides of a conflict skip whole terms with it (Raft paper, end of section 5.3).
  func newestPlace(atMost index: Index, termAtMost term: Term) -> (index: Index, term: Term) {
    var candidate = min(index, lastIndex)
    for run in runs.reversed() where run.first <= candidate {
      if run.term <= term { return (candidate, run.term) }
      candidate = run.first.previous
    }
    return (candidate, self.term(at: candidate) ?? Term(0))
  }

  // MARK: Entries

  var cachedCount: Int { cached.count }

  /// The oldest index that is in memory; `lastIndex.next` when none is.
  var firstCachedIndex: Index { Index(lastIndex.rawValue + 1 - UInt64(cached.count)) }

  mutating func append(_ entry: Entry) {
    precondition(entry.index == lastIndex.next, "\(entry.index) cannot follow \(lastIndex)")
    precondition(entry.term >= lastTerm, "\(entry.index) has \(entry.term), below \(lastTerm) before it")
    if runs.isEmpty || entry.term > lastTerm { runs.append(TermRun(first: entry.index, term: entry.term)) }
    lastIndex = entry.index
    lastClockMilliseconds = entry.clockMilliseconds
    cachedBytes += entry.sizeBytes
    cached.append(entry)
  }

  /// Removes this entry and all after it.
  mutating func truncate(from index: Index) {
    precondition(index >= firstIndex, "\(index) is before the first entry that the log holds, \(firstIndex)")
    while let last = cached.last, last.index >= index {
      cachedBytes -= last.sizeBytes
      cached.removeLast()
    }
    while let run = runs.last, run.first >= index { runs.removeLast() }
    lastIndex = index.previous
    // Where the new last entry is no longer in memory the old clock stays: too high a floor keeps clocks rising too.
    if let last = cached.last { lastClockMilliseconds = last.clockMilliseconds }
  }

  /// Forgets everything: the log begins anew behind a snapshot.
  mutating func reset(to base: LogBase) {
    firstIndex = base.index.next
    lastIndex = base.index
    lastClockMilliseconds = base.clockMilliseconds
    runs = [TermRun(first: base.index, term: base.term)]
    cached.removeAll()
    cachedBytes = 0
  }

  /// Lets go of everything before this entry, but for the term of the one right before it.
  mutating func compact(before index: Index) {
    precondition(
      index > firstIndex && index <= lastIndex.next, "the log from \(firstIndex) has no \(index) to begin at")
    while let oldest = cached.first, oldest.index < index {
      cachedBytes -= oldest.sizeBytes
      cached.removeFirst()
    }
    if let needed = runs.lastIndex(where: { $0.first < index }) {
      runs.removeFirst(needed)
      runs[0].first = index.previous
    }
    firstIndex = index
  }

  /// Entries `first...last`, or nil when some of them are not in memory. Payloads are shared, not copied.
  func entries(from first: Index, through last: Index) -> [Entry]? {
    guard first <= last else { return [] }
    guard first >= firstCachedIndex, last <= lastIndex else { return nil }
    let start = first.distance(from: firstCachedIndex)
    return Array(cached[start...(start + last.distance(from: first))])
  }

  /// The newest index such that the entries from `first` through it fit in `maxBytes`, with their size. One entry
  /// always fits. `first` must be in memory.
  func lastFitting(from first: Index, maxBytes: Int) -> (last: Index, sizeBytes: Int) {
    var position = first.distance(from: firstCachedIndex)
    var size = cached[position].sizeBytes
    while position + 1 < cached.count {
      let more = cached[position + 1].sizeBytes
      if size + more > maxBytes { break }
      size += more
      position += 1
    }
    return (firstCachedIndex.advanced(by: position), size)
  }

  /// The size of the entries in `(after, through]` that are in memory.
  func cachedSizeBytes(after: Index, through: Index) -> Int {
    guard !cached.isEmpty, after < through else { return 0 }
    let first = max(after.next, firstCachedIndex)
    guard first <= through else { return 0 }
    let start = first.distance(from: firstCachedIndex)
    var size = 0
    for position in start...(start + through.distance(from: first)) { size += cached[position].sizeBytes }
    return size
  }

  /// Lets go of the oldest entries through `limit` until memory is within bounds.
  mutating func evict(through limit: Index, maxBytes: Int, maxCount: Int) {
    while cachedBytes > maxBytes || cached.count > maxCount, let oldest = cached.first, oldest.index <= limit {
      cachedBytes -= oldest.sizeBytes
      cached.removeFirst()
    }
  }
}
