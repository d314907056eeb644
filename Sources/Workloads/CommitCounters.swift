// Owns the reading of what a node counts of its commits, from its metrics, and what the counts of a run say.
//
// It must never guess: a target without these metrics (etcd, for one) has no account, and neither has a run during which a
// node was started anew.

package import Measurement

/// What nodes have counted since they started.
package struct CommitCounters: Sendable, Equatable {
  struct Path: Sendable, Equatable {
    var commits = 0.0
    var seconds = 0.0
    /// In the order of the text, which is that of the way.
    var stages: [(name: String, seconds: Double)] = []

    static func == (left: Path, right: Path) -> Bool {
      left.commits == right.commits && left.seconds == right.seconds
        && left.stages.elementsEqual(right.stages) { $0 == $1 }
    }
  }

  private(set) var paths: [String: Path] = [:]
  /// When the node was started, in seconds of its wall clock; 0 where it does not say.
  private(set) var startSeconds = 0.0

  private static let total = "portcullis_commit_duration_seconds"
  private static let stage = "portcullis_commit_stage_duration_seconds"

  /// Reads Prometheus' text. Nil where nothing is said of commits.
  package init?(metrics text: String) {
    let start = "process_start_time_seconds "
    if let line = text.split(separator: "\n").first(where: { $0.hasPrefix(start) }) {
      startSeconds = Double(line.dropFirst(start.count)) ?? 0
    }
    for line in text.split(separator: "\n") where line.hasPrefix("portcullis_commit_") && !line.contains("_bucket{") {
      guard let brace = line.firstIndex(of: "{"), let end = line.firstIndex(of: "}"),
        let value = Double(line[line.index(after: end)...].drop { $0 == " " })
      else { continue }
      let labels = line[line.index(after: brace)..<end].split(separator: ",").map { label in
        label.split(separator: "=", maxSplits: 1).map { $0.trimming("\"") }
      }
      func label(_ name: String) -> String? { labels.first { $0.first == name && $0.count == 2 }?[1] }
      guard let path = label("path") else { continue }
      switch line[..<brace] {
      case "\(Self.total)_count": paths[path, default: Path()].commits += value
      case "\(Self.total)_sum": paths[path, default: Path()].seconds += value
      case "\(Self.stage)_sum":
        if let name = label("stage") { paths[path, default: Path()].stages.append((name, value)) }
      default: break
      }
    }
    if paths.isEmpty { return nil }
  }

  /// Of several nodes together. Nil where a node is not there in both readings, or is another process than before.
  package static func breakdown(from before: [CommitCounters?], to after: [CommitCounters?]) -> CommitBreakdown? {
    guard !before.isEmpty, before.count == after.count else { return nil }
    var sums: [String: Path] = [:]
    for (first, last) in zip(before, after) {
      guard let first, let last, abs(last.startSeconds - first.startSeconds) < 1 else { return nil }
      for (name, new) in last.paths {
        let old = first.paths[name] ?? Path()
        // Within what a whole number is exact, whatever a target says.
        guard new.commits >= old.commits, new.commits < 0x1p53 else { return nil }
        var sum = sums[name] ?? Path()
        sum.commits += new.commits - old.commits
        sum.seconds += new.seconds - old.seconds
        for (place, stage) in new.stages.enumerated() {
          let gained = stage.seconds - (old.stages.first { $0.name == stage.name }?.seconds ?? 0)
          if place < sum.stages.count {
            sum.stages[place].seconds += gained
          } else {
            sum.stages.append((stage.name, gained))
          }
        }
        sums[name] = sum
      }
    }
    let paths = sums.filter { $0.value.commits > 0 }.map { name, sum in
      CommitBreakdown.Path(
        name: name, commits: UInt64(sum.commits), meanNanoseconds: sum.seconds / sum.commits * 1e9,
        stages: sum.stages.map { .init(name: $0.name, meanNanoseconds: $0.seconds / sum.commits * 1e9) })
    }
    guard !paths.isEmpty else { return nil }
    return CommitBreakdown(paths: paths.sorted { ($0.commits, $1.name) > ($1.commits, $0.name) })
  }
}

extension Substring {
  fileprivate func trimming(_ character: Character) -> String {
    String(drop { $0 == character }.reversed().drop { $0 == character }.reversed())
  }
}
