# Reads the vectors, and compares what came with what they expect: see ../README.md.

require "json"
require "yaml"

Vector = Struct.new(:name, :why, :steps, :variables, :server)

class Mismatch < StandardError; end

module Vectors
  FOLDER = File.expand_path("../vectors", __dir__)

  # Every vector of every file, one for each case of a `for_each`.
  def self.load
    Dir[File.join(FOLDER, "*.yaml")].sort.flat_map do |path|
      YAML.safe_load(File.read(path), aliases: true).flat_map do |raw|
        raw.fetch("for_each", [{}]).map do |variables|
          name = [File.basename(path, ".yaml"), raw["name"], variables["case"]].compact.join("/")
          Vector.new(name, raw["why"], raw["steps"], variables, raw.fetch("server", "open"))
        end
      end
    end
  end

  # `value` with its references and repetitions replaced.
  def self.resolve(value, variables)
    case value
    when String
      whole = value[/\A\$\{(\w+)\}\z/, 1]
      return resolve(variables.fetch(whole), variables) if whole && whole != "number"
      value.gsub(/\$\{(\w+)\}/) { variables.fetch($1).to_s }
    when Array
      value.map { |each| resolve(each, variables) }
    when Hash
      if value.key?("repeat")
        value.fetch("before", "") + value["repeat"] * value["times"] + value.fetch("after", "")
      elsif value.key?("copies")
        (1..value["times"]).map { |number| resolve(value["copies"], variables.merge("number" => number)) }
      else
        value.transform_values { |each| resolve(each, variables) }
      end
    else
      value
    end
  end

  # `{run: run.runId}`: sets the variables.
  def self.save(paths, from, variables)
    (paths || {}).each do |name, path|
      variables[name] = path.split(".").reduce(from) { |value, key| value.is_a?(Array) ? value[key.to_i] : value[key] }
    end
  end

  def self.check(expected, actual, path)
    lines = differences(expected, actual, path)
    raise Mismatch, lines.join("\n") unless lines.empty?
  end

  def self.differences(expected, actual, path)
    case expected
    when "<any>" then actual.nil? ? ["#{path}: expected anything, got nothing"] : []
    when Hash
      return ["#{path}: expected an object, got #{short(actual)}"] unless actual.is_a?(Hash)
      expected.flat_map { |key, each| field_differences(key, each, actual, path) }
    when Array
      same = actual.is_a?(Array) && actual.length == expected.length
      return ["#{path}: expected #{expected.length} elements, got #{short(actual)}"] unless same
      expected.each_with_index.flat_map { |each, index| differences(each, actual[index], "#{path}[#{index}]") }
    else
      expected == actual ? [] : ["#{path}: expected #{short(expected)}, got #{short(actual)}"]
    end
  end

  def self.field_differences(key, expected, actual, path)
    return differences(expected, error_of_receipt(actual["error"]), "#{path}.error") if key == "refused"
    if expected == "<unset>"
      return actual[key].nil? ? [] : ["#{path}.#{key}: expected nothing, got #{short(actual[key])}"]
    end
    differences(expected, actual[key], "#{path}.#{key}")
  end

  # A receipt's error, written as the error of a call.
  def self.error_of_receipt(status)
    return nil if status.nil?
    error = { "code" => CODES[status["code"]], "fields" => [] }
    status["details"].each do |detail|
      case detail["@type"]
      when /ErrorInfo\z/ then error.update("reason" => detail["reason"], "metadata" => detail["metadata"])
      when /BadRequest\z/ then error["fields"] = detail["fieldViolations"].map { |violation| violation["field"] }
      end
    end
    error
  end

  def self.short(value)
    text = value.inspect
    text.length <= 300 ? text : "#{text[0, 300]}... (#{text.length} characters)"
  end
end
