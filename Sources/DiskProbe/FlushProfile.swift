// Owns the measuring of how long this machine's disk takes to make bytes durable, on the very path that the log takes.
//
// It must never judge by one tight loop alone: a disk that is kept busy may answer ten times faster, or slower, than one
// that is asked now and then, and a node at rest asks now and then. Each series is therefore taken tight and paced.
//
// It writes into a directory of its own inside the one that is asked about, and removes it again.

package import LogStorage
package import Measurement

/// One way of asking the disk, and how long each answer took.
package struct FlushSeries: Sendable {
  package enum Path: String, Sendable {
    /// A batch made durable by the log: `LogStorage.append`.
    case log
    /// `pwrite` and `fdatasync` of a file whose blocks are already there: the least that any log could do.
    case file
    /// `pwrite` alone. It shows what the other figures are made of besides the disk.
    case unflushed
  }

  package enum Pace: String, Sendable {
    /// The next commit starts when the last one is over.
    case tight
    /// Commits start at fixed times, with rest in between.
    case paced
  }

  package var path: Path
  package var pace: Pace
  package var recordBytes: Int
  package var recordsPerCommit: Int
  package var latency: LatencyHistogram
  package var elapsedNanoseconds: UInt64

  package init(
    path: Path, pace: Pace, recordBytes: Int, recordsPerCommit: Int, latency: LatencyHistogram,
    elapsedNanoseconds: UInt64
  ) {
    self.path = path
    self.pace = pace
    self.recordBytes = recordBytes
    self.recordsPerCommit = recordsPerCommit
    self.latency = latency
    self.elapsedNanoseconds = elapsedNanoseconds
  }
}

package struct FlushProfileOptions: Sendable {
  /// An existing directory on the disk that is asked about.
  package var directory: String
  package var recordBytes: Int
  /// How many records each commit of the log has, one series for each.
  package var batchRecords: [Int]
  /// Commits in each series, unless the time is up before.
  package var commits: Int
  package var secondsPerSeries: Double
  package var pacedIntervalMicroseconds: Int

  package init(
    directory: String, recordBytes: Int = 256, batchRecords: [Int] = [1, 64], commits: Int = 1200,
    secondsPerSeries: Double = 6, pacedIntervalMicroseconds: Int = 3000
  ) {
    precondition(recordBytes > 0 && commits > 0 && secondsPerSeries > 0, "nothing would be measured")
    precondition(!batchRecords.isEmpty && batchRecords.allSatisfy { $0 > 0 }, "a batch would be empty")
    precondition(pacedIntervalMicroseconds > 0, "a pace needs an interval")
    self.directory = directory
    self.recordBytes = recordBytes
    self.batchRecords = batchRecords
    self.commits = commits
    self.secondsPerSeries = secondsPerSeries
    self.pacedIntervalMicroseconds = pacedIntervalMicroseconds
  }
}

/// What a disk's flushes cost, and whether to believe it.
package struct FlushProfile: Sendable {
  package var series: [FlushSeries]
  package var verdict: FlushVerdict

  package init(series: [FlushSeries]) {
    self.series = series
    verdict = FlushVerdict(series)
  }

  /// Blocks the calling thread until all series are taken, a few seconds for each; not for the cooperative pool.
  package static func measure(_ options: FlushProfileOptions) throws(StorageError) -> FlushProfile {
    let scratch = try ScratchDirectory(in: options.directory)
    defer { scratch.remove() }
    var series: [FlushSeries] = []
    let file = try PreallocatedFile(path: scratch.path + "/plain", bytes: 22 << 20)
    for (path, pace) in [(FlushSeries.Path.unflushed, FlushSeries.Pace.tight), (.file, .tight), (.file, .paced)] {
      series.append(
        try take(options, path, pace, records: 1) { () throws(StorageError) in
          try file.write(bytes: options.recordBytes, flushing: path == .file)
        })
    }
    var log = try ProbedLog(directory: scratch.path + "/log", recordBytes: options.recordBytes)
    defer { log.close() }
    for records in options.batchRecords {
      for pace in [FlushSeries.Pace.tight, .paced] {
        series.append(
          try take(options, .log, pace, records: records) { () throws(StorageError) in
            try log.commit(records: records)
          })
      }
    }
    return FlushProfile(series: series)
  }

  private static func take(
    _ options: FlushProfileOptions, _ path: FlushSeries.Path, _ pace: FlushSeries.Pace, records: Int,
    commit: () throws(StorageError) -> Void
  ) throws(StorageError) -> FlushSeries {
    let interval = pace == .paced ? UInt64(options.pacedIntervalMicroseconds) * 1000 : 0
    let limit = UInt64(options.secondsPerSeries * 1e9)
    // The first commits make the file longer and the caches warm, which no later one does.
    for _ in 0..<min(16, options.commits) { try commit() }
    var latency = LatencyHistogram()
    let began = MonotonicClock.nanoseconds()
    var due = began
    for _ in 0..<options.commits {
      if interval > 0 { sleep(untilNanoseconds: due) }
      let start = MonotonicClock.nanoseconds()
      try commit()
      let end = MonotonicClock.nanoseconds()
      latency.record(nanoseconds: end - start)
      guard end - began < limit else { break }
      // A commit longer than the interval is followed by a whole rest, not by a burst to catch up.
      due = max(due + interval, end + interval / 2)
    }
    return FlushSeries(
      path: path, pace: pace, recordBytes: options.recordBytes, recordsPerCommit: records, latency: latency,
      elapsedNanoseconds: MonotonicClock.nanoseconds() - began)
  }
}
