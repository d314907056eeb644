// `fsync`: what a disk takes to make a commit durable.

import ArgumentParser
import Commands
import DiskProbe
import Foundation
import LogStorage

struct Fsync: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure how long this disk takes to make a commit of the log durable.",
    discussion: """
      Example:
        portcullis fsync ./portcullis-data

      Each figure is taken in a tight loop and at a pace, since a disk that is kept busy answers differently.
      """)

  @Argument(help: "A directory on the disk in question. What is written there is removed again.")
  var directory = "."

  @Option(help: "Commits in each series.")
  var commits = 1200

  func validate() throws {
    guard commits >= 10 else { throw ValidationError("--commits must be at least 10") }
  }

  func run() async throws {
    let options = FlushProfileOptions(directory: directory, commits: commits)
    let profile: Result<FlushProfile, StorageError> = await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        do throws(StorageError) {
          continuation.resume(returning: .success(try FlushProfile.measure(options)))
        } catch {
          continuation.resume(returning: .failure(error))
        }
      }
    }
    do {
      for line in try profile.get().lines { print(line) }
    } catch {
      throw CommandFailure(Commands.ExitCode.failed, "\(error)")
    }
  }
}

extension FlushProfile {
  fileprivate var lines: [String] {
    func microseconds(_ nanoseconds: UInt64?) -> String {
      nanoseconds.map { String(format: "%8.0f", Double($0) / 1000) } ?? "       -"
    }
    let head = "path       pace   records     p50 µs   p99 µs   max µs"
    let rows = series.map { series in
      let latency = series.latency
      return series.path.rawValue.padding(toLength: 11, withPad: " ", startingAt: 0)
        + series.pace.rawValue.padding(toLength: 7, withPad: " ", startingAt: 0)
        + String(format: "%7d   ", series.recordsPerCommit) + microseconds(latency.percentile(50)) + " "
        + microseconds(latency.percentile(99)) + " " + microseconds(latency.max)
    }
    return [head] + rows + [verdict.text]
  }
}
