// Owns a node's log on disk: the entries, the term and the vote. It is the one room that calls liblmdb.
//
// It must never: acknowledge what is not durable; cut, skip or repair a record that it cannot read; try a failed write
// again; be written by two threads.
//
// Who acts: one thread writes (LogWriter's, or whichever thread writes first), any thread reads. The contract with the
// other rooms is `open`, `write`, `entries` and `close` alone, so that where the bytes go first may change behind it.
//
// A batch is durable in the journal first (Journal.swift, JournaledWriting.swift); the tree takes it later.
//
// Invariants: the entries are contiguous from `firstIndex` to `lastIndex`; terms and clocks do not fall from one entry
// to the next; no entry's term is above the stored term (a term is durable no later than its entries).

package import RaftCore
import Synchronization

package final class LogStorage: Sendable {
  let environment: Environment
  let journal: Journal
  /// The node's snapshots. Any thread.
  package let snapshots: SnapshotStore
  /// A number that was drawn when the directory was made. A node that comes back with another one has lost its disk,
  /// and with it what it voted for and acknowledged.
  package let birth: UInt64
  private let directory: LogDirectory
  private let truncationStepEntries: Int
  let shared: Mutex<Shared>

  /// What threads other than the writer's look at, and the writer's own state between two writes.
  struct Shared {
    var log: LogState
    /// What the tree has of it; the rest is in the journal.
    var settled: LogState
    var unsettled = Unsettled()
    var owner: ThreadIdentity?
    /// The first error of a write. What is on the disk is not known after it, so that every later write is refused.
    var failure: StorageError?
  }

  private init(
    environment: Environment, journal: Journal, directory: LogDirectory, snapshots: SnapshotStore, log: LogState,
    opening: Opening
  ) {
    self.environment = environment
    self.journal = journal
    self.directory = directory
    self.snapshots = snapshots
    birth = opening.birth
    truncationStepEntries = opening.options.truncationStepEntries
    shared = Mutex(
      Shared(log: log, settled: log, unsettled: Unsettled(sequence: opening.sequence), owner: nil, failure: nil))
  }

  deinit {
    close()
  }

  /// Opens the log in `directory`, and makes both when there is none. Reads and checks every record there is.
  ///
  /// What is damaged is cut away, remembered on the disk, and told in `Restored.damage`; or refused, with
  /// `Options.refusesDamage`. A log of an older format is brought up to date.
  package static func open(
    directory path: String, identity: Identity, options: Options = Options(), freeSpace: FreeSpace = .ofFileSystem
  ) throws(StorageError) -> (storage: LogStorage, recovered: Restored) {
    try open(directory: path, identity: identity, options: options, freeSpace: freeSpace, onStep: {})
  }

  /// The same. `onStep` is called after each durable step, where tests let the power go out.
  package static func open(
    directory path: String, identity: Identity, options: Options, freeSpace: FreeSpace = .ofFileSystem,
    onStep: @escaping () -> Void
  ) throws(StorageError) -> (storage: LogStorage, recovered: Restored) {
    let directory = try LogDirectory(takingOver: path)
    let environment = try Environment(path: path, access: .readingAndWriting, options: options, freeSpace: freeSpace)
    try environment.clearStaleReaders()
    if try environment.read({ (transaction) throws(StorageError) in try transaction.isEmpty() }) {
      // Either nothing was ever here, or making it ended in a crash before its one transaction was committed. The
      // journal is made later than that.
      guard !Journal.exists(in: path) else {
        throw .corruptFile(reason: "\(path) has a journal, and nothing in \(LogDirectory.dataFileName)")
      }
      try create(identity, in: environment)
      try LogDirectory.sync(path)
      onStep()
    }
    let snapshots = try SnapshotStore(directory: path, options: options, freeSpace: freeSpace)
    var opening = Opening(
      path: path, identity: identity, options: options, environment: environment, snapshots: snapshots,
      onStep: onStep)
    let (journal, log, restored) = try opening.run()
    try environment.makeRoom(forBytes: LogState.pageBytesNeeded(for: []), use: .recovering)
    let storage = LogStorage(
      environment: environment, journal: journal, directory: directory, snapshots: snapshots, log: log,
      opening: opening)
    return (storage, restored)
  }

  /// Whose log is in `directory`, or nil when there is none. Makes nothing and changes nothing.
  package static func existingIdentity(directory path: String) throws(StorageError) -> Identity? {
    let directory = try LogDirectory(readingAt: path)
    defer { directory.release() }
    guard let bytes = try LogDirectory.dataFileBytes(in: path), bytes > 0 else { return nil }
    let environment = try Environment(path: path, access: .reading, options: Options())
    defer { environment.close() }
    return try environment.read { (transaction) throws(StorageError) in
      try transaction.isEmpty() ? nil : try TreeFacts.identity(in: transaction, path: path).identity
    }
  }

  /// Lets go of the directory, after the reads and the write that are under way. Closing twice does nothing.
  package func close() {
    snapshots.abandonStaging()
    environment.close()
    directory.release()
  }

  // MARK: Writing

  /// Makes the whole batch durable in one transaction. (A suffix longer than `Options.truncationStepEntries` is cut in
  /// transactions before it, newest entries first, so that what is on the disk in between is a log as well.)
  ///
  /// Blocks until the disk has it. The first thread to call this is the only one that may, from then on. After an
  /// error the process must end: every later call throws the same error.
  @discardableResult
  package func write(_ batch: [Persist]) throws(StorageError) -> FlushTiming {
    let began = MonotonicClock.nanoseconds()
    try settle()
    var log = try claim()
    do throws(StorageError) {
      let flush = try write(batch, to: &log)
      return FlushTiming(
        beganNanoseconds: began, flushBeganNanoseconds: flush.began, flushEndedNanoseconds: flush.ended,
        persists: batch.count, entries: batch.reduce(0) { $0 + $1.entries.count })
    } catch {
      shared.withLock { $0.failure = error }
      throw error
    }
  }

  func claim() throws(StorageError) -> LogState {
    let caller = ThreadIdentity.current
    let (log, failure) = shared.withLock { shared in
      let owner = shared.owner ?? caller
      precondition(owner == caller, "the log is written by two threads; LMDB hangs or corrupts it then")
      shared.owner = owner
      return (shared.log, shared.failure)
    }
    if let failure { throw failure }
    return log
  }

  private func write(
    _ batch: [Persist], to log: inout LogState
  ) throws(StorageError) -> (began: UInt64, ended: UInt64) {
    var flushBegan = MonotonicClock.nanoseconds()
    var rest = batch[...]
    batch.forEach(checkBase)
    while let first = rest.first {
      if let cut = first.cutsFrom, log.entries(from: cut) > truncationStepEntries {
        try shorten(&log, to: cut, hardState: first.hardState)
      }
      // Everything up to the next long cut goes into one transaction, which nearly always is everything.
      let end = log.nextLongCut(in: rest, longerThan: truncationStepEntries) ?? rest.endIndex
      flushBegan = try commit(rest[..<end], to: &log)
      rest = rest[end...]
    }
    return (flushBegan, MonotonicClock.nanoseconds())
  }

  /// Cuts all but the last step of a long suffix. The term goes to disk with the first step: this node must not come
  /// back with fewer entries and still in the term in which it acknowledged them.
  private func shorten(_ log: inout LogState, to removeFrom: Index, hardState: HardState?) throws(StorageError) {
    var hardState = hardState
    while log.entries(from: removeFrom) > truncationStepEntries {
      let stepFrom = Index(log.lastIndex.rawValue - UInt64(truncationStepEntries) + 1)
      let step = Persist(sequence: 0, hardState: hardState, removeFrom: stepFrom, entries: [])
      _ = try commit([step][...], to: &log)
      hardState = nil
    }
  }

  /// A log that began behind a place of which no snapshot is here would be empty after the next start.
  private func checkBase(_ persist: Persist) {
    guard let base = persist.base else { return }
    precondition(snapshots.holds(base), "the log was to begin behind \(base.index), and no snapshot is there")
  }

  /// One durable transaction. Returns when its flush began.
  private func commit(_ group: ArraySlice<Persist>, to log: inout LogState) throws(StorageError) -> UInt64 {
    let use = group.allSatisfy(\.entries.isEmpty) ? RoomUse.recovering : .entries
    try environment.makeRoom(forBytes: LogState.pageBytesNeeded(for: group), use: use)
    var next = log
    var flushBegan: UInt64 = 0
    try environment.write { (transaction) throws(StorageError) in
      try next.apply(group, in: transaction)
    } willCommit: {
      flushBegan = MonotonicClock.nanoseconds()
    }
    log = next
    shared.withLock { shared in
      shared.log = next
      shared.settled = next
    }
    return flushBegan
  }

  // MARK: Reading

  /// The entries after `after` and up to `through`, as far as `maxBytes` of payload go; the first one always, however
  /// large, so that the reader gets on. Fewer when the log ends before. Any thread may ask.
  package func entries(
    after: Index, through: Index, maxBytes: Int
  ) throws(StorageError) -> [Entry] {
    guard through > after else { return [] }
    try environment.checkOpen()
    let (settledLast, unsettled) = shared.withLock { ($0.settled.lastIndex, $0.unsettled.entries) }
    var entries = try settledEntries(after: after, through: min(through, settledLast), maxBytes: maxBytes)
    guard after.advanced(by: entries.count) >= settledLast else { return entries }
    var bytes = entries.reduce(0) { $0 + $1.payload.count }
    for entry in unsettled where entry.index > after && entry.index <= through {
      bytes += entry.payload.count
      guard entries.isEmpty || bytes <= maxBytes else { break }
      entries.append(entry)
    }
    return entries
  }

  /// The same of what the tree has.
  private func settledEntries(
    after: Index, through: Index, maxBytes: Int
  ) throws(StorageError) -> [Entry] {
    guard through > after else { return [] }
    return try environment.read { (transaction) throws(StorageError) in
      try self.checkBeginning(isBefore: after, in: transaction)
      var entries: [Entry] = []
      var bytes = 0
      try transaction.forEachRecord(from: Key.entry(after.next)) { (key, record) throws(StorageError) in
        guard let index = Key.index(of: key), index <= through else { return false }
        let expected = after.advanced(by: entries.count + 1)
        guard index == expected else {
          throw .missingEntries(from: expected, first: index, last: self.lastIndex)
        }
        bytes += record.count - EntryHeader.bytes
        guard entries.isEmpty || bytes <= maxBytes else { return false }
        entries.append(try Entry.read(record, at: index))
        return true
      }
      return entries
    }
  }

  /// Records before the log's beginning may still be there, and may be of another history.
  private func checkBeginning(isBefore after: Index, in transaction: borrowing Transaction) throws(StorageError) {
    guard let record = try transaction.record(at: Key.base) else { return }
    let base: LogBase
    do throws(Corruption) {
      base = try BaseRecord.read(record)
    } catch {
      throw .corruptFile(reason: "the log's beginning: \(error.reason)")
    }
    guard after >= base.index else {
      throw .missingEntries(from: after.next, first: base.index.next, last: lastIndex)
    }
  }

  private var lastIndex: Index {
    shared.withLock { $0.log.lastIndex }
  }

  /// Figures for metrics. Any thread may ask; it reads the list of free pages, so not more than once a second or so.
  package func statistics() throws(StorageError) -> Statistics {
    let information = try environment.information()
    let (freePages, depth) = try environment.read { (transaction) throws(StorageError) in
      (try transaction.freePages(), try transaction.depth())
    }
    let log = shared.withLock { $0.log }
    return Statistics(
      firstIndex: log.firstIndex, lastIndex: log.lastIndex, mapBytes: information.mapBytes,
      fileBytes: information.usedBytes, pageBytes: information.pageBytes, usedPages: information.usedPages - freePages,
      freePages: freePages, treeDepth: depth)
  }

  package struct Statistics: Sendable, Equatable {
    package var firstIndex: Index
    package var lastIndex: Index
    /// Address space; the file is smaller.
    package var mapBytes: Int
    /// What LMDB has come to use of the file, which may be a step longer. It never shrinks: what was freed in it is
    /// used again.
    package var fileBytes: Int
    package var pageBytes: Int
    package var usedPages: Int
    package var freePages: Int
    package var treeDepth: Int
  }

  // MARK: Making and checking

  private static func create(_ identity: Identity, in environment: Environment) throws(StorageError) {
    try environment.write { (transaction) throws(StorageError) in
      try transaction.setIntegerKeys()
      try transaction.put(key: Key.identity, bytes: IdentityRecord.bytes) {
        IdentityRecord.write(identity, birth: UInt64.random(in: 1...UInt64.max), to: $0)
      }
      try transaction.put(key: Key.hardState, bytes: HardStateRecord.bytes) { HardStateRecord.write(.initial, to: $0) }
    }
  }
}
