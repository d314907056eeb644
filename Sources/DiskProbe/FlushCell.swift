// Owns what one cell of the matrix is: one way of asking a disk to make something durable.
//
// A disk has no one latency. It depends on how much is written, on whether the file system must record more than the
// bytes, on which call waits, on what else asks at the same time, and on whether the processor is free to go on when
// the disk has answered. A cell fixes all five, so that figures of two machines can be laid side by side.

/// One way of asking.
package struct FlushCell: Sendable, Hashable, Codable {
  package enum Subject: String, Sendable, Codable, CaseIterable {
    /// A plain file: `pwrite`, and what `Method` says.
    case file
    /// A batch made durable by the log of a node: `LogStorage.append`.
    case log
  }

  package enum Layout: String, Sendable, Codable, CaseIterable {
    /// Every block was written once before. A flush has nothing to record but the bytes. Our journal is such a file.
    case prepared
    /// Blocks were taken by `fallocate`, and each is written for the first time: the file system records that as well.
    /// etcd's log is such a file, and so is the one that fio writes unless it is told otherwise.
    case reserved
    /// Each write makes the file longer: the file system records blocks and length as well.
    case growing
  }

  package enum Method: String, Sendable, Codable, CaseIterable {
    /// `pwrite`, then `fdatasync`.
    case fdatasync
    /// `pwrite` alone, of a file opened with `O_DSYNC`.
    case dsync
    /// `pwrite` alone: the control. It shows what the other figures are made of besides the disk.
    case none
  }

  package enum Processors: String, Sendable, Codable, CaseIterable {
    /// As the machine is.
    case idle
    /// Each processor also has a thread that never rests.
    case busy
  }

  package var subject: Subject
  /// Of each write of a file, of each record of a log.
  package var bytes: Int
  /// Records in each commit of a log; 1 for a file.
  package var records: Int
  /// Of a log it is `prepared`, which is what a log does by itself.
  package var layout: Layout
  /// Of a log it is `fdatasync`, which is what a log does by itself.
  package var method: Method
  /// How many write at once, each to a file or a log of its own.
  package var writers: Int
  /// From the start of a commit to the start of the next; with 0 the next starts when the last one is over.
  package var intervalMicroseconds: Int
  package var processors: Processors

  package static func file(
    bytes: Int, layout: Layout = .prepared, method: Method = .fdatasync, writers: Int = 1,
    intervalMicroseconds: Int = 0, processors: Processors = .idle
  ) -> FlushCell {
    FlushCell(
      subject: .file, bytes: bytes, records: 1, layout: layout, method: method, writers: writers,
      intervalMicroseconds: intervalMicroseconds, processors: processors)
  }

  package static func log(
    records: Int, bytes: Int = 256, writers: Int = 1, intervalMicroseconds: Int = 0, processors: Processors = .idle
  ) -> FlushCell {
    FlushCell(
      subject: .log, bytes: bytes, records: records, layout: .prepared, method: .fdatasync, writers: writers,
      intervalMicroseconds: intervalMicroseconds, processors: processors)
  }

  /// How far one writer's file reaches before it is begun anew. 22 MiB is what the usual line of fio writes.
  package var fileBytes: Int { max(22 << 20, 16 * bytes) }
}

extension FlushCell {
  /// "2300 B", "64 × 256 B".
  package var amountText: String { subject == .log ? "\(records) × \(bytes) B" : "\(bytes) B" }

  /// "tight", "each 2 ms", "3 at once".
  package var loadText: String {
    let pace = intervalMicroseconds == 0 ? "tight" : "each \(Self.lengthText(intervalMicroseconds))"
    guard writers > 1 else { return pace }
    return intervalMicroseconds == 0 ? "\(writers) at once" : "\(writers), \(pace)"
  }

  /// What is written to.
  package var targetText: String { subject == .log ? "log" : layout.rawValue }

  /// The call that waits for the disk.
  package var methodText: String { subject == .log ? "append" : method.rawValue }

  /// All of it in one line.
  package var text: String { "\(amountText), \(targetText), \(methodText), \(loadText), \(processors.rawValue)" }

  private static func lengthText(_ microseconds: Int) -> String {
    microseconds.isMultiple(of: 1000) ? "\(microseconds / 1000) ms" : "\(microseconds) µs"
  }
}

/// Which cells are measured.
package enum FlushMatrix {
  /// About what etcd writes for a small put, and what its hardware guide measures disks with.
  package static let usualBytes = 2300
  /// Between commits of a log: from those of a busy cluster to those of one with little to do. A disk that rests longer answers later;
  /// after 5 ms those that were seen to do so are as late as they get.
  package static let logIntervalsMicroseconds = [600, 2000, 5000]
  /// In one commit of a log, to see what bytes cost: with half as many as a node moves into its tree at once, luck in two medians hardly
  /// counts.
  package static let manyRecords = 1024

  /// The dimensions that are of most use, one at a time, around one file that is written in a tight loop.
  package static func standard(intervalMicroseconds: Int = 2000) -> [FlushCell] {
    let bytes = usualBytes
    return [
      .file(bytes: bytes, method: .none),
      .file(bytes: bytes),
      .file(bytes: bytes, intervalMicroseconds: intervalMicroseconds),
      .file(bytes: bytes, writers: 3),
      .file(bytes: bytes, processors: .busy),
      .file(bytes: bytes, method: .dsync),
      .file(bytes: bytes, layout: .reserved),
      .file(bytes: bytes, layout: .growing),
      .log(records: 1),
      .log(records: 64),
      .log(records: manyRecords),
    ] + logIntervalsMicroseconds.map { .log(records: 1, intervalMicroseconds: $0) }
  }

  /// Everything: three sizes, three layouts, two calls, three loads, idle and busy; the controls; and the log.
  package static func full(intervalMicroseconds: Int = 2000) -> [FlushCell] {
    var choice = FlushChoice()
    choice.bytes = [256, usualBytes, 65_536]
    choice.layouts = FlushCell.Layout.allCases
    choice.methods = [.fdatasync, .dsync]
    choice.loads = [(1, 0), (1, intervalMicroseconds), (3, 0)]
    choice.processors = FlushCell.Processors.allCases
    choice.logRecords = [1, 64, manyRecords]
    return choice.cells
  }
}

/// Values of each dimension, all of whose combinations are measured.
package struct FlushChoice: Sendable {
  package var bytes = [FlushMatrix.usualBytes]
  package var layouts: [FlushCell.Layout] = [.prepared]
  package var methods: [FlushCell.Method] = [.fdatasync]
  package var loads: [(writers: Int, intervalMicroseconds: Int)] = [(1, 0)]
  package var processors: [FlushCell.Processors] = [.idle]
  /// Cells of the log beside those of files, with so many records of 256 bytes each.
  package var logRecords: [Int] = []

  package init() {}

  /// The controls come first, one for each size and layout: whatever else is measured is judged by them.
  package var cells: [FlushCell] {
    var cells: [FlushCell] = []
    for bytes in bytes {
      for layout in layouts { cells.append(.file(bytes: bytes, layout: layout, method: .none)) }
    }
    for processors in processors {
      for bytes in bytes {
        for layout in layouts {
          for method in methods {
            for load in loads {
              cells.append(
                .file(
                  bytes: bytes, layout: layout, method: method, writers: load.writers,
                  intervalMicroseconds: load.intervalMicroseconds, processors: processors))
            }
          }
        }
      }
      for records in logRecords {
        for load in loads {
          cells.append(
            .log(
              records: records, writers: load.writers, intervalMicroseconds: load.intervalMicroseconds,
              processors: processors))
        }
      }
    }
    var seen: Set<FlushCell> = []
    return cells.filter { seen.insert($0).inserted }
  }
}
