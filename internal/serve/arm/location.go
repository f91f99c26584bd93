package arm

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A region is a place where Azure has machines. The house believes that what it keeps
// is in any of them.
type region struct{ name, display, area string }

// regions are those of the public cloud (az account list-locations).
var regions = regionsOf(`
US: East US, East US 2, South Central US, West US 2, West US 3, Central US, North Central US, West US, West Central US
Canada: Canada Central, Canada East
Mexico: Mexico Central
South America: Brazil South, Brazil Southeast, Chile Central
Europe: North Europe, West Europe, Sweden Central, Sweden South, UK South, UK West, France Central, France South, Germany West Central, Germany North, Norway East, Norway West, Switzerland North, Switzerland West, Poland Central, Italy North, Spain Central, Austria East, Belgium Central, Denmark East
Asia Pacific: Southeast Asia, East Asia, Australia East, Australia Southeast, Australia Central, Australia Central 2, Japan East, Japan West, Korea Central, Korea South, Central India, South India, West India, Jio India West, Jio India Central, New Zealand North, Malaysia West, Indonesia Central
Middle East: UAE North, UAE Central, Qatar Central, Israel Central
Africa: South Africa North, South Africa West
`)

func regionsOf(text string) []region {
	var all []region
	for line := range strings.Lines(text) {
		area, names, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		for display := range strings.SplitSeq(names, ", ") {
			all = append(all, region{strings.ToLower(strings.ReplaceAll(display, " ", "")), display, area})
		}
	}
	return all
}

// locationNames are the names of all regions, for people.
var locationNames = func() []string {
	names := make([]string, len(regions))
	for i, r := range regions {
		names[i] = r.display
	}
	return names
}()

// regionList names all regions as a refusal does.
var regionList = func() string {
	names := make([]string, len(regions))
	for i, r := range regions {
		names[i] = r.name
	}
	return strings.Join(names, ",")
}()

var location = regexp.MustCompile(`^[a-z][a-z0-9]{1,49}$`)

// normalLocation is the one form of a location.
func normalLocation(said string) string {
	return strings.ToLower(strings.ReplaceAll(said, " ", ""))
}

func isRegion(name string) bool {
	return slices.ContainsFunc(regions, func(r region) bool { return r.name == name })
}

// locationOf returns a location in its one form. A resource does not move, so where it
// is already is no question; a new one is in a region, or in one of the others.
func locationOf(typ, name, old, said string, others ...string) (string, error) {
	next := normalLocation(said)
	switch {
	case said == "":
		return "", noLocation()
	case old != "" && old == next:
	case !location.MatchString(next) || !isRegion(next) && !slices.Contains(others, next):
		return "", serve.Refuse(http.StatusBadRequest, "LocationNotAvailableForResourceType", fmt.Sprintf(
			"The provided location '%s' is not available for resource type '%s'. List of available regions for the resource type is '%s'.", serve.Printable(said, 50), typ, regionList))
	case old != "":
		return "", serve.Refuse(http.StatusConflict, "InvalidResourceLocation", fmt.Sprintf(
			"The resource '%s' already exists in location '%s'. A resource with the same name cannot be created in location '%s'. Please select a new resource name.", serve.Printable(name, 80), old, next))
	}
	return next, nil
}

// groupLocation is where the resource group of a place is. Estate files may name one
// that is no region; what is made in the group is there without being asked.
func (s *session) groupLocation(at scope.Scope) string {
	rg, _ := at.ResourceGroup()
	group, _ := s.est.ResourceGroup(rg)
	return normalLocation(group.Location)
}

func noLocation() error {
	return serve.Refuse(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
}

type locationBody struct {
	ID                  string           `json:"id"`
	Name                string           `json:"name"`
	Type                string           `json:"type"`
	DisplayName         string           `json:"displayName"`
	RegionalDisplayName string           `json:"regionalDisplayName"`
	Metadata            locationMetadata `json:"metadata"`
}

type locationMetadata struct {
	RegionType     string `json:"regionType"`
	RegionCategory string `json:"regionCategory"`
	GeographyGroup string `json:"geographyGroup"`
}

func listLocations(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	var rows []row
	for _, g := range regions {
		rows = append(rows, row{g.name, locationBody{
			ID: s.spell(r.at) + "/locations/" + g.name, Name: g.name, Type: "Region", DisplayName: g.display,
			RegionalDisplayName: "(" + g.area + ") " + g.display, Metadata: locationMetadata{"Physical", "Recommended", g.area},
		}})
	}
	return s.page(r, rows)
}
